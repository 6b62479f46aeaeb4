"""The layers of AFPN (Yang et al., 2023) that a model YAML names.

Levels are ordered finest first, as in `[P3, P4, P5]`: each has half the height and width of the one
before it. A fusion takes any number of consecutive levels from two upwards, and gives one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv

from afpn_yolo.checks import check_channels, check_int, check_pyramid, named
from afpn_yolo.init import (
    init_copy,
    init_fusion_weights,
    init_neck,
    init_projection,
    init_residual,
)
from afpn_yolo.merge import block_diagonal, difference, softmax


def align(c_in: int, c_out: int, steps: int) -> nn.Module:
    """Bring a level to another level's channels and size (section III-B of the paper).

    Args:
        c_in: Channels of the source level.
        c_out: Channels of the target level.
        steps: How many levels coarser the source is than the target; negative if it is finer.

    Returns:
        A module from (B, c_in, H, W) to (B, c_out, H * 2**steps, W * 2**steps); the identity for 0
        steps.
    """
    if steps == 0:
        return nn.Identity()
    if steps < 0:
        factor = 2**-steps
        return Conv(c_in, c_out, factor, factor, 0)
    # The convolution comes first, on the small map: that is what keeps it cheap.
    # A module, not F.interpolate: Ultralytics' GFLOPs count modules only.
    upsample = nn.Upsample(scale_factor=2**steps, mode="bilinear", align_corners=False)
    return nn.Sequential(Conv(c_in, c_out, 1), upsample)


class AFPNConv(Conv):  # type: ignore[misc]
    """A 1x1 convolution with BatchNorm and SiLU: reduce, lateral and expand.

    Row: `[-1, 1, AFPNConv, [channels]]`. It is Ultralytics' `Conv` but for how it starts.

    Args:
        c_in: Channels in.
        c_out: Channels out; in a row they are multiplied by the scale's width.

    Raises:
        ValueError: On channels below 1.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        self.check(c_in, c_out)
        super().__init__(c_in, c_out, 1)
        init_neck(self)
        if c_in == c_out:
            init_copy(self.conv)
        else:
            init_projection(self.conv.weight)

    @classmethod
    def check(cls, c_in: int, c_out: int) -> None:
        """Raise the `ValueError` that building with these arguments would raise."""
        check_channels(cls.__name__, [c_in, c_out])


class LevelFusion(nn.Module):
    """What all fusions share: align N levels to one of them, combine, 3x3 convolution.

    Args:
        channels: Channels of the N >= 2 consecutive source levels, finest first.
        target: Position in `channels` of the level that comes out.

    Raises:
        ValueError: On fewer than two sources, a target that is none of them, or channels below 1;
            in `forward`, on sources that are not each half the size of the one before.
    """

    def __init__(self, channels: Sequence[int], target: int) -> None:
        super().__init__()
        self.check(channels, target)
        self.channels = tuple(channels)
        self.target = target
        c = channels[target]
        self.align = nn.ModuleList(align(c_in, c, i - target) for i, c_in in enumerate(channels))
        self.conv = Conv(self.combined_channels(), c, 3)
        init_neck(self)
        init_copy(self.align)
        init_copy(self.conv)

    @classmethod
    def check(cls, channels: Sequence[int], target: int) -> None:
        """Raise the `ValueError` that building with these arguments would raise."""
        check_channels(cls.__name__, channels)
        if len(channels) < 2:
            raise ValueError(f"{cls.__name__} needs at least 2 source levels, got {len(channels)}")
        check_int(cls.__name__, "target level", target, 0, len(channels) - 1)

    def combined_channels(self) -> int:
        """Channels that `combine` gives to the 3x3 convolution."""
        return self.channels[self.target]

    def combine(self, levels: list[Tensor]) -> Tensor:
        """Make one (B, combined_channels, H, W) out of N aligned (B, C, H, W)."""
        raise NotImplementedError

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Fuse N levels (B, C_i, H / 2**i, W / 2**i) into one at the target's channels and size."""
        check_pyramid(named(self), self.channels, levels)
        aligned = [module(x) for module, x in zip(self.align, levels, strict=True)]
        return self.conv(self.combine(aligned))


class FusionWeights(nn.Module):
    """Predict how much each aligned level counts at each position (the weights of eq. 1).

    A module of its own, so that a forward hook on it sees the weight maps.

    Args:
        channels: Channels C of each aligned level.
        sources: Number of levels N.
        hidden: Channels that each level is squeezed to before the levels are compared.
    """

    pair = False  # fused, of two levels

    def __init__(self, channels: int, sources: int, hidden: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.ModuleList(Conv(channels, hidden, 1) for _ in range(sources))
        self.score = nn.Conv2d(hidden * sources, sources, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """From N aligned levels (B, C, H, W) to weights (B, N, H, W) that sum to 1 over N."""
        squeezed = [module(x) for module, x in zip(self.squeeze, levels, strict=True)]
        return torch.softmax(self.score(torch.cat(squeezed, 1)), 1)

    def fuse(self) -> None:
        """Merge the squeezes into one convolution, once their BatchNorm has been folded.

        Fused, `forward` gives the same weights; of two levels only the second's, (B, 1, H, W).
        """
        if hasattr(self, "joint"):
            return
        squeezes = [*self.squeeze]
        convs: list[Any] = [squeeze.conv for squeeze in squeezes]
        folded = not any(hasattr(squeeze, "bn") for squeeze in squeezes)
        # Of another class are convolutions that a quantiser has put in place of these.
        plain = all(type(conv) is nn.Conv2d for conv in (*convs, self.score))
        if not folded or not plain or len({squeeze.act for squeeze in squeezes}) > 1:
            return
        self.joint = block_diagonal(convs)
        self.act: Any = squeezes[0].act
        self.pair = len(self.squeeze) == 2
        if self.pair:
            self.score = difference(self.score)
        del self.squeeze
        self.forward = self.forward_fuse  # type: ignore[method-assign]

    def forward_fuse(self, levels: list[Tensor]) -> Tensor:
        """What `forward` is once fused."""
        scores = self.score(self.act(self.joint(torch.cat(levels, 1))))
        return torch.sigmoid(scores) if self.pair else softmax(scores)


class AFPNFusion(LevelFusion):
    """Adaptively spatial feature fusion, ASFF (eq. 1): a weighted sum, weights per position.

    Row: `[[finest, ..., coarsest], 1, AFPNFusion, [target]]` or `[target, hidden]`.

    Args:
        channels: Channels of the N >= 2 consecutive source levels, finest first.
        target: Position in `channels` of the level that comes out.
        hidden: Channels of the squeezed levels that the weights are predicted from.

    Example:
        >>> fuse = AFPNFusion([16, 32, 64], target=1)
        >>> levels = [torch.zeros(1, 16, 8, 8), torch.zeros(1, 32, 4, 4), torch.zeros(1, 64, 2, 2)]
        >>> fuse(levels).shape
        torch.Size([1, 32, 4, 4])
    """

    def __init__(self, channels: Sequence[int], target: int, hidden: int = 8) -> None:
        self.check(channels, target, hidden)
        super().__init__(channels, target)
        self.weights = FusionWeights(channels[target], len(channels), hidden)
        init_fusion_weights(self.weights)

    @classmethod
    def check(cls, channels: Sequence[int], target: int, hidden: int = 8) -> None:
        """Raise the `ValueError` that building with these arguments would raise."""
        super().check(channels, target)
        check_int(cls.__name__, "hidden channels", hidden, 1)

    def combine(self, levels: list[Tensor]) -> Tensor:
        """Weighted sum of N aligned levels: (B, C, H, W) each, and one such out."""
        weights = self.weights(levels)
        if self.weights.pair:
            return levels[0] + (levels[1] - levels[0]) * weights
        maps = weights.split(1, 1)
        total = levels[0] * maps[0]
        for x, weight in zip(levels[1:], maps[1:], strict=True):
            # One pass, where * and + are two. Only in training: NCNN knows no addcmul.
            total = torch.addcmul(total, x, weight) if self.training else total + x * weight
        return total

    def fuse(self) -> None:
        """Bring the layer into the form that is computed fastest; `BaseModel.fuse` calls it."""
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


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions around a bypass, activation after the addition (ResNet's basic block).

    Args:
        channels: Channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels, 3)
        self.cv2 = Conv(channels, channels, 3, act=False)
        self.act = Conv.default_act
        init_neck(self)
        init_residual(self.cv2.bn)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.act(x + self.cv2(self.cv1(x)))


class AFPNResidual(nn.Sequential):
    """A stack of residual units, as AFPN puts behind every fusion.

    Row: `[-1, 1, AFPNResidual, [repeats]]`. The units are counted in the arguments because
    Ultralytics multiplies a row's own number by the model's depth, and AFPN's three units are three
    at every scale.

    Args:
        channels: Channels in and out.
        repeats: Number of units.

    Raises:
        ValueError: On channels or repeats below 1.
    """

    def __init__(self, channels: int, repeats: int = 3) -> None:
        self.check(channels, repeats)
        super().__init__(*(ResidualUnit(channels) for _ in range(repeats)))

    @classmethod
    def check(cls, channels: int, repeats: int = 3) -> None:
        """Raise the `ValueError` that building with these arguments would raise."""
        check_channels(cls.__name__, [channels])
        check_int(cls.__name__, "repeats", repeats, 1)


LAYERS: dict[str, type[LevelFusion] | type[AFPNConv] | type[AFPNResidual]] = {
    "AFPNConv": AFPNConv,
    "AFPNFusion": AFPNFusion,
    "AFPNSum": AFPNSum,
    "AFPNConcat": AFPNConcat,
    "AFPNResidual": AFPNResidual,
}
"""Name in a model YAML -> layer. A new layer is a line here."""

CHECKPOINT_CLASSES = (*LAYERS.values(), FusionWeights, ResidualUnit)
"""Every class of ours that a checkpoint can hold. Their paths are a file format: never rename."""
