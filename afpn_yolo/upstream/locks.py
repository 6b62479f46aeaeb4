"""File locks, so that several processes can share one comparison without repeating a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from afpn_yolo.upstream.log import announce


def lock_of(path: Path) -> FileLock:
    """The lock to hold while reading or writing a file that other processes write, too.

    Its folder is made. To lock twice within a process, use the same object.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


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
    rest, before = list(folders), -1
    while len(rest) != before:
        jobs, before, rest = rest, len(rest), []
        for name in jobs:
            folders[name].mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(folders[name] / ".lock", timeout=0):
                    do(name)
            except Timeout:
                rest.append(name)
    for name in rest:
        announce(f"{name}: another process is doing it; if that one is stopped, start this again")
    return rest
