"""Checks of what users write, with messages that name the bad value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from reprlib import Repr

import torch
from torch import Tensor, nn


class EvaluationError(ValueError):
    """A model or data set can't be evaluated; the message names the file and what to do."""


MOST_VALUES = 100_000
_short = Repr()
_short.maxlist = _short.maxdict = _short.maxtuple = 8
_short.maxlevel = 3
_short.maxstring = _short.maxother = _short.maxlong = 60


def shown(value: object) -> str:
    """`repr`, cut short: a YAML of a few lines can mean a list of a billion items."""
    return _short.repr(value)


def check_size(where: str, content: object) -> None:
    """Raise `ValueError` when aliases of a YAML expand to more than `MOST_VALUES` values."""
    sizes: dict[int, int] = {}

    def size(value: object) -> int:
        if not isinstance(value, (list, Mapping)):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = MOST_VALUES + 1  # what a list has that contains itself
            items = chain(value.keys(), value.values()) if isinstance(value, Mapping) else value
            sizes[id(value)] = 1 + sum(size(item) for item in items)
        return sizes[id(value)]

    if size(content) > MOST_VALUES:
        raise ValueError(f"{where}: its aliases (*name) expand to over {MOST_VALUES} values")


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
        raise ValueError(f"{where}: {what} must be {allowed}, got {shown(value)}")


def named(layer: nn.Module) -> str:
    """What messages call a layer: `row 16, AFPNFusion`, where Ultralytics' parser made it."""
    row, name = getattr(layer, "i", None), type(layer).__name__
    return name if row is None else f"row {row}, {name}"


def check_channels(where: str, channels: Sequence[int]) -> None:
    """Raise `ValueError` unless `channels` is a list of integers >= 1."""
    if isinstance(channels, (str, bytes)) or not isinstance(channels, Sequence):
        raise ValueError(f"{where}: channels must be a list of integers, got {shown(channels)}")
    for c in channels:
        check_int(where, "channels", c, 1)


def check_pyramid(where: str, channels: Sequence[int], levels: list[Tensor]) -> None:
    """Raise `ValueError` unless the levels are what a fusion was built for.

    Args:
        where: Name for the message.
        channels: Expected channels, finest level first.
        levels: Tensors (B, C_i, H_i, W_i), finest first; each must have half the height and width
            of the one before.
    """
    # While a graph is recorded, sizes are symbols: comparing them would fix them in the graph.
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined, no-untyped-call]
        return
    if len(levels) != len(channels):
        raise ValueError(f"{where} was built for {len(channels)} levels, got {len(levels)}")
    for i, (c, x) in enumerate(zip(channels, levels, strict=True)):
        if x.ndim != 4 or x.shape[1] != c:
            raise ValueError(
                f"{where}: source {i} must be (B, {c}, H, W), got {tuple(x.shape)}; "
                "sources are listed finest level first"
            )
    for i, (fine, coarse) in enumerate(pairwise(levels)):
        if tuple(fine.shape[2:]) != (2 * coarse.shape[2], 2 * coarse.shape[3]):
            raise ValueError(
                f"{where}: source {i + 1} must have half the size of source {i}, got "
                f"{_size(coarse)} and {_size(fine)} (height x width). Either the row's sources are "
                "not consecutive levels, finest first, or the image's sides are no multiples of "
                "the model's largest stride (32 for a neck that ends at P5)"
            )


def _size(x: Tensor) -> str:
    return f"{x.shape[2]}x{x.shape[3]}"
