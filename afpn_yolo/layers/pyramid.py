"""What a layer of a pyramid may be built for and be given, with messages that name the layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from afpn_yolo.base.checks import check_int
from afpn_yolo.base.errors import short_repr


def layer_name(layer: nn.Module) -> str:
    """What messages call a layer: `row 16, AFPNFusion`, where Ultralytics' parser made it."""
    row, name = getattr(layer, "i", None), type(layer).__name__
    return name if row is None else f"row {row}, {name}"


def check_channels(where: str, channels: Sequence[int]) -> None:
    """Raise `ValueError` unless `channels` is a list of integers >= 1."""
    if isinstance(channels, (str, bytes)) or not isinstance(channels, Sequence):
        raise ValueError(
            f"{where}: channels must be a list of integers, got {short_repr(channels)}"
        )
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
