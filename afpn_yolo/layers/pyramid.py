"""Checks of a layer's channels and inputs; messages name the layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from afpn_yolo.base.checks import check_int
from afpn_yolo.base.errors import short_repr


def check_channels(where: str, channels: Sequence[int]) -> None:
    """Raise `ValueError` unless `channels` is a list of integers >= 1."""
    if isinstance(channels, (str, bytes)) or not isinstance(channels, Sequence):
        raise ValueError(
            f"{where}: channels must be a list of integers, got {short_repr(channels)}"
        )
    for c in channels:
        check_int(where, "channels", c, 1)


def check_pyramid(layer: nn.Module, channels: Sequence[int], levels: list[Tensor]) -> None:
    """Raise `ValueError` unless the levels are what a fusion was built for.

    Args:
        layer: The fusion; messages name it and its row in the model YAML.
        channels: Expected channels, finest level first.
        levels: Tensors (B, C_i, H_i, W_i), finest first; each must have half the height and width
            of the one before.
    """
    # While a graph is recorded, sizes are symbols: comparing them would fix them in the graph.
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined, no-untyped-call]
        return
    where = type(layer).__name__
    if hasattr(layer, "i"):  # Ultralytics' parser sets it
        where = f"row {layer.i}, {where}"
    if len(levels) != len(channels):
        raise ValueError(f"{where} was built for {len(channels)} levels, got {len(levels)}")
    for i, (c, x) in enumerate(zip(channels, levels, strict=True)):
        if x.ndim != 4 or x.shape[1] != c:
            raise ValueError(
                f"{where}: source {i} must be (B, {c}, H, W), got {tuple(x.shape)}; "
                "sources are listed finest level first"
            )
    for i, (fine, coarse) in enumerate(pairwise(levels)):
        if fine.shape[2] != 2 * coarse.shape[2] or fine.shape[3] != 2 * coarse.shape[3]:
            sizes = " and ".join(f"{x.shape[2]}x{x.shape[3]}" for x in (coarse, fine))
            raise ValueError(
                f"{where}: source {i + 1} must have half the size of source {i}, got {sizes} "
                "(height x width). Either the row's sources are not consecutive levels, finest "
                "first, or the image's sides are no multiples of the model's largest stride (32 "
                "for a neck that ends at P5)"
            )
