"""A progress bar on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
WIDTH = 30
PAUSE = 0.1  # seconds between two drawings


def track(items: Iterable[T], name: str, count: int | None) -> Iterator[T]:
    """Pass items on and show how far it is; silent where standard error is no terminal.

    Args:
        items: What to pass on.
        name: Written before the bar.
        count: How many items are expected, if that is known.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    started = drawn = time.monotonic()
    done = 0
    try:
        for done, item in enumerate(items, 1):
            yield item
            if time.monotonic() - drawn >= PAUSE:
                drawn = time.monotonic()
                _show(line(name, done, count, drawn - started))
    finally:
        _show(line(name, done, count, time.monotonic() - started) + "\n")


def line(name: str, done: int, count: int | None, seconds: float) -> str:
    """Such as `clip.mp4 [######----] 120/200 frames, 14.2/s`."""
    speed = f"{done / max(seconds, 1e-9):.1f}/s"
    if count is None:
        return f"{name} {done} frames, {speed}"
    filled = min(WIDTH * done // max(count, 1), WIDTH)
    return f"{name} [{'#' * filled:-<{WIDTH}}] {done}/{count} frames, {speed}"


def _show(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text}")  # to the line's start, and clear it
    sys.stderr.flush()
