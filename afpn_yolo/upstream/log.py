"""How the user is told: in Ultralytics' way."""

from __future__ import annotations

import logging
import re
import unicodedata
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


# Colours and cursor movements of a terminal; pictures; marks that turn the direction of writing.
CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\^_])")
PICTURE = "[\u2190-\u2bff\U0001f000-\U0001faff]\ufe0f?\u200d?"
PICTURES = re.compile(f" *{PICTURE}(?=[.,;:])|{PICTURE}")  # no blank stays before a full stop
MARKS = re.compile("[\u202a-\u202e\u2066-\u2069\ufeff]")


def one_line(error: BaseException) -> str:
    """Put a message, which may have several lines and pictures, into one plain line.

    Letters of all languages stay: they are in names of files.
    """
    plain = MARKS.sub("", PICTURES.sub("", CODES.sub("", str(error))))
    plain = "".join(" " if unicodedata.category(c) == "Cc" else c for c in plain)
    plain = plain.encode("utf-8", "replace").decode()  # bytes of a name that are no letters
    return " ".join(plain.split()).removeprefix("ERROR ") or type(error).__name__


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


@contextmanager
def briefly() -> Iterator[None]:
    """Without what Ultralytics tells of its doings; warnings and progress stay."""

    def keep(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    LOGGER.addFilter(keep)
    try:
        yield
    finally:
        LOGGER.removeFilter(keep)
