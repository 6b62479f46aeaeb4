"""Runs and files that several processes share: each is one process's at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from afpn_yolo.upstream.log import announce


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


def share(folders: Mapping[str, Path], do: Callable[[str], None]) -> list[str]:
    """Do each piece of work in its folder, unless another process is at it.

    What was another's is tried again after the rest, for that one may have been stopped meanwhile,
    and so on until a round brings nothing.

    Args:
        folders: A folder for each piece of work, by its name.
        do: Does the work of that name, while this process holds its folder.

    Returns:
        What another process is still at.
    """
    rest = list(folders)
    while rest:
        others = [name for name in rest if not _done(name, folders[name], do)]
        if len(others) == len(rest):
            break
        rest = others
    for name in rest:
        announce(f"{name}: another process is at it; should that be stopped, start this again")
    return rest


def _done(name: str, folder: Path, do: Callable[[str], None]) -> bool:
    """Do the work if the folder is free."""
    with claim(folder) as mine:
        if mine:
            do(name)
    return mine
