"""Run real commands in folders of their own, as a user would; or where our package isn't there."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from afpn_yolo.cli.__main__ import main
from tests import warm

YOLO = Path(shutil.which("yolo", path=Path(sys.executable).parent) or "yolo")
AFPN = (sys.executable, "-m", "afpn_yolo")
EDGE = (sys.executable, "-m", "afpn_yolo.edge")
ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "kept" / "tiny-afpn.yaml"
"""A model with every layer of ours, a third of the time of the smallest that we ship."""
LINKS = TemporaryDirectory(prefix="without-afpn-")  # gone when the tests end
WITHOUT = """
import importlib.metadata, importlib.util, sys
sys.path[:] = {path}
assert importlib.util.find_spec("afpn_yolo") is None
assert not [*importlib.metadata.distributions(name="afpn_yolo")]
"""
COMMAND = "import sys; from ultralytics.cfg import entrypoint; sys.argv[0] = 'yolo'; entrypoint()"
COMMANDS = """
import sys
from ultralytics.cfg import entrypoint
for words in {words!r}:
    sys.argv[:] = ["yolo", *words]
    entrypoint()
"""
"""Several `yolo` commands, one after the other in one interpreter."""
AT_START = {"AFPN_YOLO_DISABLE", "TEST_NETWORK_NOTES"}
"""Variables that act when an interpreter starts, so that a fork comes too late for them."""
WITH_TESTS = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
"""An environment in which a child can import `tests`, and all that we can."""
TIMEOUT = 1200.0


def run(
    *command: str | Path,
    cwd: Path,
    fails: bool = False,
    env: dict[str, str] | None = None,
    cold: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command; its exit code must be zero, or non-zero where it must fail.

    Args:
        cold: Start an interpreter even for `yolo`, whose commands are forks otherwise: `warm`.
    """
    program, *words = map(str, command)
    if program == str(YOLO) and warm.AVAILABLE and not cold and not AT_START & {*(env or {})}:
        return forked(COMMAND, *words, cwd=cwd, fails=fails, env=env)
    return _ended(
        subprocess.run(
            [program, *words],
            cwd=cwd,
            env=_environment(env),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        ),
        fails,
    )


def forked(
    code: str, *arguments: str, cwd: Path, fails: bool = False, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run code in a process that has torch already, and nothing of Ultralytics or of us."""
    if not warm.AVAILABLE:
        return run(sys.executable, "-c", code, *arguments, cwd=cwd, fails=fails, env=env)
    return _ended(warm.call(code, [*arguments], cwd, _environment(env), TIMEOUT), fails)


def _environment(env: dict[str, str] | None) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}


def _ended(
    result: subprocess.CompletedProcess[str], fails: bool
) -> subprocess.CompletedProcess[str]:
    assert (result.returncode != 0) == fails, result.stdout[-3000:] + result.stderr[-3000:]
    return result


def python(code: str, cwd: Path, fails: bool = False, env: dict[str, str] | None = None) -> str:
    """Run code in a fresh interpreter; returns all that it printed."""
    result = run(sys.executable, "-c", code, cwd=cwd, fails=fails, env=env)
    return result.stdout + result.stderr


def afpn(*words: str | Path, cwd: Path, fails: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command `afpn` in this process, as `run` would in another."""
    told, complained, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(cwd)
    try:
        with redirect_stdout(told), redirect_stderr(complained):
            code = main([str(word) for word in words])
    except SystemExit as end:  # argparse
        code = end.code if isinstance(end.code, int) else 1
    finally:
        os.chdir(before)
    assert (code != 0) == fails, told.getvalue()[-3000:] + complained.getvalue()[-3000:]
    return subprocess.CompletedProcess(words, code, told.getvalue(), complained.getvalue())


@cache
def path_without_us() -> list[str]:
    """`sys.path`, with links to all but this package where a folder holds it or its metadata."""
    path: list[str] = []
    for folder in map(Path, filter(os.path.isdir, sys.path)):
        if (folder / "afpn_yolo").exists() and (folder / "setup.cfg").exists():
            continue  # a checkout
        if any("afpn_yolo" in entry.name for entry in folder.iterdir()):
            links = Path(LINKS.name) / str(len(path))
            links.mkdir()
            for entry in folder.iterdir():
                if "afpn_yolo" not in entry.name:
                    (links / entry.name).symlink_to(entry)
            folder = links
        path.append(str(folder))
    return path


def without_us(code: str) -> tuple[str, ...]:
    """The command for code in an interpreter in which this package isn't installed.

    That is more than `AFPN_YOLO_DISABLE=1`, under which `afpn_yolo` is still imported. `-S` keeps
    start-up files out, `-I` the environment's and the current folder.
    """
    return (sys.executable, "-S", "-I", "-c", WITHOUT.format(path=path_without_us()) + code)
