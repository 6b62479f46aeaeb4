"""Messages and progress, shown through Ultralytics' logger."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from ultralytics.utils import LOGGER


def warn(message: str) -> None:
    """Log a warning."""
    LOGGER.warning(message)


def announce(message: str) -> None:
    """Log what is going on."""
    LOGGER.info(message)


# Colours and cursor movements of a terminal; pictures; marks that turn the direction of writing.
CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\^_])")
PICTURE = "[\u2190-\u2bff\U0001f000-\U0001faff]\ufe0f?\u200d?"
PICTURES = re.compile(f" *{PICTURE}(?=[.,;:])|{PICTURE}")  # and no blank before a full stop
MARKS = re.compile("[\u202a-\u202e\u2066-\u2069\ufeff]")


def one_line(error: BaseException) -> str:
    """An error's message in one plain line, without emoji and terminal codes.

    Letters of all languages stay: file names have them.
    """
    plain = MARKS.sub("", PICTURES.sub("", CODES.sub("", str(error))))
    plain = "".join(" " if unicodedata.category(c) == "Cc" else c for c in plain)
    plain = plain.encode("utf-8", "replace").decode()  # bytes of a name that are no letters
    return " ".join(plain.split()).removeprefix("ERROR ") or type(error).__name__


@contextmanager
def quiet(warnings: bool = False) -> Iterator[None]:
    """Without Ultralytics' messages, except errors and, if asked for, warnings."""
    least = logging.WARNING if warnings else logging.ERROR

    def keep(record: logging.LogRecord) -> bool:
        return record.levelno >= least

    LOGGER.addFilter(keep)
    try:
        yield
    finally:
        LOGGER.removeFilter(keep)
