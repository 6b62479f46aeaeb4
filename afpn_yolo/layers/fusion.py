"""Fusions: two or more consecutive levels in, finest first, one of them out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv

from afpn_yolo.base.checks import check_int
from afpn_yolo.base.errors import short_repr
from afpn_yolo.layers.align import OPTIONS, align
from afpn_yolo.layers.carafe import Carafe
from afpn_yolo.layers.init import init_copy, init_neck
from afpn_yolo.layers.weights import FusionWeights


class LevelFusion(nn.Module):
    """What all fusions share: align N levels to one of them, combine, 3x3 convolution.

    Args:
        channels: Channels of the N >= 2 consecutive source levels, finest first.
        target: Position in `channels` of the level that comes out.
        options: Words of `OPTIONS`, how levels are aligned; last in a row: `[target, plain]`.

    Raises:
        ValueError: On fewer than two sources, a target that is none of them, channels below 1, or
            an unknown option; in `forward`, on sources that are not each half the size of the one
            before.
    """

    ROW: ClassVar[dict[str, int | None]] = {"target": None}

    def __init__(self, channels: Sequence[int], target: int, options: Sequence[str] = ()) -> None:
        super().__init__()
        name = type(self).__name__
        if isinstance(channels, (str, bytes)) or not isinstance(channels, Sequence):
            raise ValueError(
                f"{name}: channels must be a list of integers, got {short_repr(channels)}"
            )
        for c in channels:
            check_int(name, "channels", c, 1)
        self.check(len(channels), target, options)
        self.channels = tuple(channels)
        self.target = target
        c = channels[target]
        self.align = nn.ModuleList(
            align(c_in, c, i - target, options) for i, c_in in enumerate(channels)
        )
        self.conv = Conv(self.combined_channels(), c, 3)
        init_neck(self)
        init_copy(self.align)
        init_copy(self.conv)
        for module in self.align.modules():
            if isinstance(module, Carafe):
                module.reset_parameters()

    @classmethod
    def check(cls, sources: int, target: int, options: Sequence[str] = ()) -> None:
        """Raise `ValueError` unless this number of levels can be fused to that one of them."""
        if sources < 2:
            raise ValueError(f"{cls.__name__} needs at least 2 source levels, got {sources}")
        check_int(cls.__name__, "target level", target, 0, sources - 1)
        for word in options:
            if word not in OPTIONS:
                allowed = ", ".join(OPTIONS)
                raise ValueError(
                    f"{cls.__name__}: the options are {allowed}, got {short_repr(word)}"
                )

    def combined_channels(self) -> int:
        """Channels that `combine` gives to the 3x3 convolution."""
        return self.channels[self.target]

    def combine(self, levels: list[Tensor]) -> Tensor:
        """Make one (B, combined_channels, H, W) out of N aligned (B, C, H, W)."""
        raise NotImplementedError

    def fuse(self) -> None:
        """Replace the layer by a faster form, if it has one; BatchNorm has been folded then."""

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Fuse N levels (B, C_i, H / 2**i, W / 2**i) into one at the target's channels and size."""
        self._check_levels(levels)
        aligned = [module(x) for module, x in zip(self.align, levels, strict=True)]
        return self.conv(self.combine(aligned))

    def _check_levels(self, levels: list[Tensor]) -> None:
        # While a graph is recorded, sizes are symbols: comparing them would fix them in the graph.
        if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined, no-untyped-call]
            return
        where = type(self).__name__
        if hasattr(self, "i"):  # Ultralytics' parser sets it
            where = f"row {self.i}, {where}"
        if len(levels) != len(self.channels):
            raise ValueError(
                f"{where} was built for {len(self.channels)} levels, got {len(levels)}"
            )
        for i, (c, x) in enumerate(zip(self.channels, levels, strict=True)):
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
                    "first, or the image's sides are no multiples of the model's largest stride "
                    "(32 for a neck that ends at P5)"
                )


class AFPNFusion(LevelFusion):
    """Adaptively spatial feature fusion, ASFF (eq. 1): a weighted sum, weights per position.

    Row: `[[finest, ..., coarsest], 1, AFPNFusion, [target]]` or `[target, hidden]`, then options.

    Args:
        channels: Channels of the N >= 2 consecutive source levels, finest first.
        target: Position in `channels` of the level that comes out.
        hidden: Channels of the squeezed levels that the weights are predicted from.
        options: As in `LevelFusion`.

    Example:
        >>> fuse = AFPNFusion([16, 32, 64], target=1)
        >>> levels = [torch.zeros(1, 16, 8, 8), torch.zeros(1, 32, 4, 4), torch.zeros(1, 64, 2, 2)]
        >>> fuse(levels).shape
        torch.Size([1, 32, 4, 4])
    """

    ROW: ClassVar[dict[str, int | None]] = {"target": None, "hidden": 8}

    def __init__(
        self, channels: Sequence[int], target: int, hidden: int = 8, options: Sequence[str] = ()
    ) -> None:
        check_int(type(self).__name__, "hidden", hidden, 1)
        super().__init__(channels, target, options)
        self.weights = FusionWeights(channels[target], len(channels), hidden)
        init_neck(self.weights)

    def combine(self, levels: list[Tensor]) -> Tensor:
        """Weighted sum of N aligned levels: (B, C, H, W) each, and one such out."""
        weights = self.weights(levels)
        if self.weights.pair:
            # In this form OpenCV 5.0 opens it, too: a map of one channel that comes from a
            # convolution can't be multiplied there before another operation has been at it. An
            # addition, since ONNX Runtime has no subtraction in INT8.
            return levels[1] + (levels[1] - levels[0]) * weights.add(-1)
        maps = weights.split(1, 1)
        total = levels[0] * maps[0]
        for x, weight in zip(levels[1:], maps[1:], strict=True):
            # addcmul is one pass instead of two, but NCNN has no such operation.
            total = torch.addcmul(total, x, weight) if self.training else total + x * weight
        return total

    def fuse(self) -> None:
        """Merge the convolutions that the weights are predicted by."""
        self.weights.fuse()


class AFPNSum(LevelFusion):
    """Element-wise sum of the aligned levels (the first line of Table V).

    Row: `[[finest, ..., coarsest], 1, AFPNSum, [target]]`.
    """

    def combine(self, levels: list[Tensor]) -> Tensor:
        """Sum of N aligned levels: (B, C, H, W) each, and one such out."""
        return sum(levels[1:], levels[0])


class AFPNConcat(LevelFusion):
    """Concatenation of the aligned levels; the 3x3 convolution mixes them (Table V).

    Row: `[[finest, ..., coarsest], 1, AFPNConcat, [target]]`.
    """

    def combined_channels(self) -> int:
        """N times the target's channels."""
        return len(self.channels) * self.channels[self.target]

    def combine(self, levels: list[Tensor]) -> Tensor:
        """From N aligned levels (B, C, H, W) to (B, N * C, H, W)."""
        return torch.cat(levels, 1)
