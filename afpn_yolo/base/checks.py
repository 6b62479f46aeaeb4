"""Checks of what users write, with messages that name the bad value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping

from afpn_yolo.base.errors import short_repr

MOST_VALUES = 100_000


def check_size(where: str, content: object) -> None:
    """Raise `ValueError` when aliases of a YAML expand to more than `MOST_VALUES` values."""
    sizes: dict[int, int] = {}

    def size(value: object) -> int:
        if not isinstance(value, (list, Mapping)):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = MOST_VALUES + 1  # what a list has that contains itself
            items = value.values() if isinstance(value, Mapping) else value
            sizes[id(value)] = 1 + sum(map(size, items))
        return sizes[id(value)]

    if size(content) > MOST_VALUES:
        raise ValueError(f"{where}: its aliases (*name) expand to over {MOST_VALUES} values")


def is_number(value: object) -> bool:
    """Whether it is an int or a float; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_int(
    where: str, what: str, value: object, low: int | None = None, high: int | None = None
) -> None:
    """Raise `ValueError` unless `value` is an int (no bool) from `low` to `high`, both included."""
    allowed = f"an integer from {low} to {high}" if high is not None else f"an integer >= {low}"
    allowed = "an integer" if low is None else str(low) if low == high else allowed
    whole = isinstance(value, int) and not isinstance(value, bool)
    below = whole and low is not None and value < low  # type: ignore[operator]
    above = whole and high is not None and value > high  # type: ignore[operator]
    if not whole or below or above:
        raise ValueError(f"{where}: {what} must be {allowed}, got {short_repr(value)}")
