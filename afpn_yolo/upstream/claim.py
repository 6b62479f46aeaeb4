"""Runs and files that several processes share: each is one process's at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def lock_of(path: Path) -> FileLock:
    """The lock to hold while one reads or writes a file that others write, too.

    Its folder is made. Held twice by one process, it must be the same object.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


@contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Whether this process may work in a run's folder: False while another one does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
