"""What is slow to make is made once, by whichever worker of `pytest -n 2` comes first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

VARIABLE = "AFPN_TESTS_SHARED"
if VARIABLE not in os.environ:  # workers have it of the process that started them
    SHARED = TemporaryDirectory(prefix="afpn-tests-")  # gone when the tests end
    os.environ[VARIABLE] = SHARED.name


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that all workers share, and only read; the first that asks fills it."""
    folder = Path(os.environ[VARIABLE], name)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            part = folder.with_name(f"{name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(folder)
    return folder
