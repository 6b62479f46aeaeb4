"""How the user is told: in Ultralytics' way."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm
from ultralytics.utils import LOGGER

Item = TypeVar("Item")


def warn(message: str) -> None:
    """Tell of something that the user may want to mend."""
    LOGGER.warning(message)


def announce(message: str) -> None:
    """Tell what is going on."""
    LOGGER.info(message)


def one_line(error: BaseException) -> str:
    """Put a message, which may have several lines and pictures, into one plain line."""
    plain = str(error).encode("ascii", "ignore").decode()
    return " ".join(plain.replace("ERROR", "").split()) or type(error).__name__


def progress(items: Collection[Item], what: str) -> Iterable[Item]:
    """Go through items behind a progress bar; it is left out where there is but one."""
    return tqdm(items, desc=what, disable=len(items) < 2 or None)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what Ultralytics tells of its doings; warnings go, too, errors stay."""
    before = LOGGER.level
    LOGGER.setLevel(logging.ERROR)
    try:
        yield
    finally:
        LOGGER.setLevel(before)
