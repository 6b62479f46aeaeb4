"""File locks, so that several processes can share one comparison without repeating a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from afpn_yolo.upstream.log import announce


def lock_of(path: Path) -> FileLock:
    """The lock to hold while reading or writing a file that other processes write, too.

    Its folder is made. To lock twice within a process, use the same object.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


@contextmanager
def try_lock(folder: Path) -> Iterator[bool]:
    """Lock the folder of a run; False while another process has it."""
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
    """Do each job in its folder, unless another process has locked it.

    Locked ones are tried again after the rest, since the other process may have been stopped
    meanwhile, and so on until a round does nothing.

    Args:
        folders: A folder for each job, by its name.
        do: Does the job of that name, while this process holds its folder.

    Returns:
        The jobs that another process is still doing.
    """
    rest = list(folders)
    while rest:
        locked = [name for name in rest if not _done(name, folders[name], do)]
        if len(locked) == len(rest):
            break
        rest = locked
    for name in rest:
        announce(f"{name}: another process is doing it; if that one is stopped, start this again")
    return rest


def _done(name: str, folder: Path, do: Callable[[str], None]) -> bool:
    """Do the job if its folder is free."""
    with try_lock(folder) as free:
        if free:
            do(name)
    return free
