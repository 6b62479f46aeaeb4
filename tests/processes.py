"""Run real commands in folders of their own, as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

YOLO = Path(sys.executable).with_name("yolo")
WITH_TESTS = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
"""An environment in which a child can import `tests`, and all that we can."""


def run(
    *command: str | Path, cwd: Path, fails: bool = False, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command; its exit code must be zero, or non-zero where it must fail."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "2", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert (result.returncode != 0) == fails, result.stdout[-3000:] + result.stderr[-3000:]
    return result


def python(code: str, cwd: Path, fails: bool = False, env: dict[str, str] | None = None) -> str:
    """Run code in a fresh interpreter; returns all that it printed."""
    result = run(sys.executable, "-c", code, cwd=cwd, fails=fails, env=env)
    return result.stdout + result.stderr
