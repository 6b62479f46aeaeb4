"""AFPN where torchvision's detectors have a `FeaturePyramidNetwork`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool

from afpn_yolo.base.errors import short_repr
from afpn_yolo.layers import AFPNConcat, AFPNConv, AFPNFusion, AFPNResidual, AFPNSum, LevelFusion

Maps = dict[str, Tensor]
Levels = tuple[list[Tensor], list[str]]  # with their names
REDUCTION = 8  # of the backbone's channels; YOLO's AFPN has a quarter
UNITS = 4  # residual units behind every fusion; YOLO's AFPN has three

FUSIONS: dict[str, type[LevelFusion]] = {"asff": AFPNFusion, "sum": AFPNSum, "concat": AFPNConcat}
"""By the names of Table V."""
UPSAMPLES = ("bilinear", "carafe")


class Stage(nn.Module):
    """Fuse the N levels of the stage before into each of them, then refine each by residual units.

    Args:
        channels: Channels of the levels, finest first.
        fusion: One of `FUSIONS`.
        upsample: `bilinear` or `carafe`.
    """

    def __init__(self, channels: Sequence[int], fusion: str, upsample: str) -> None:
        super().__init__()
        # The authors' two-stage code pads what their YOLOv5 code doesn't.
        options = ("padded", "carafe") if upsample == "carafe" else ("padded",)
        self.fusions = nn.ModuleList(
            FUSIONS[fusion](channels, i, options=options) for i in range(len(channels))
        )
        self.units = nn.ModuleList(AFPNResidual(c, UNITS) for c in channels)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """N levels (B, C_i, H / 2**i, W / 2**i), finest first, and N such out."""
        pairs = zip(self.fusions, self.units, strict=True)
        return [units(fuse(levels)) for fuse, units in pairs]


class AsymptoticFeaturePyramid(nn.Module):
    """AFPN as the paper's two-stage detectors have it (section III), with torchvision's interface.

    The two finest levels are fused first; the next coarser one joins at each further stage.

    Args:
        in_channels_list: Channels of the N >= 2 levels, finest first; multiples of 8.
        out_channels: Channels of every level that comes out.
        extra_blocks: What makes further levels of these, as in torchvision.
        fusion: `asff`, `sum` or `concat`.
        upsample: `bilinear` or `carafe` (Table I).

    Raises:
        ValueError: On an unknown name.
    """

    def __init__(
        self,
        in_channels_list: Sequence[int],
        out_channels: int = 256,
        extra_blocks: ExtraFPNBlock | None = None,
        *,
        fusion: str = "asff",
        upsample: str = "bilinear",
    ) -> None:
        super().__init__()
        check_choice("fusion", fusion, FUSIONS)
        check_choice("upsample", upsample, UPSAMPLES)
        widths = [c // REDUCTION for c in in_channels_list]
        self.reduce = nn.ModuleList(
            AFPNConv(c, width) for c, width in zip(in_channels_list, widths, strict=True)
        )
        self.lateral = nn.ModuleList(AFPNConv(width, width) for width in widths)
        self.stages = nn.ModuleList(
            Stage(widths[:joined], fusion, upsample) for joined in range(2, len(widths) + 1)
        )
        self.expand = nn.ModuleList(AFPNConv(width, out_channels) for width in widths)
        for m in self.modules():  # the two-stage AFPN has ReLU where YOLO's has SiLU
            if isinstance(getattr(m, "act", None), nn.SiLU):
                m.act = nn.ReLU(inplace=True)
        self.extra_blocks = extra_blocks

    def forward(self, x: Maps) -> Maps:
        """From named maps (B, C_i, H / 2**i, W / 2**i), finest first, to as many and the extra."""
        names, inputs = [*x.keys()], [*x.values()]
        laterals = [
            lateral(reduce(level))
            for reduce, lateral, level in zip(self.reduce, self.lateral, inputs, strict=True)
        ]
        levels = laterals[:1]
        for joining, stage in zip(laterals[1:], self.stages, strict=True):
            levels = stage([*levels, joining])
        results = [expand(level) for expand, level in zip(self.expand, levels, strict=True)]
        if self.extra_blocks is not None:
            results, names = self.extra_blocks(results, inputs, names)
        return dict(zip(names, results, strict=True))


def check_choice(what: str, value: str, allowed: Collection[str]) -> None:
    """Raise `ValueError` when a name is none of those allowed."""
    if value not in allowed:
        raise ValueError(f"{what} {short_repr(value)}: choose one of {', '.join(allowed)}")


class LastLevelConv(ExtraFPNBlock):  # type: ignore[misc]
    """P6 as the paper's text has it: a convolution of stride 2 on P5, and one of stride 1.

    The text doesn't say their kernels; here they are 1x1 and 3x3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels, 1, 2)
        self.smooth = nn.Conv2d(channels, channels, 3, 1, 1)
        for conv in (self.down, self.smooth):  # as torchvision's own extra blocks start
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, results: list[Tensor], x: list[Tensor], names: list[str]) -> Levels:
        """Add a level of half the size; it is called as torchvision calls its pooled one."""
        return [*results, self.smooth(self.down(results[-1]))], [*names, "pool"]


class BottomUpPath(ExtraFPNBlock):  # type: ignore[misc]
    """What makes a PAFPN (Liu et al., 2018) of an FPN: a second path, from fine to coarse."""

    def __init__(self, levels: int, channels: int, extra_blocks: ExtraFPNBlock) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(channels, channels, 3, 2, 1) for _ in range(levels - 1))
        self.smooth = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(levels - 1)
        )
        self.extra_blocks = extra_blocks

    def forward(self, results: list[Tensor], x: list[Tensor], names: list[str]) -> Levels:
        """Levels (B, C, H / 2**i, W / 2**i), finest first; each coarser one takes up the finer."""
        path = results[:1]
        for down, level in zip(self.down, results[1:], strict=True):
            path.append(level + down(path[-1]))
        smoothed = [conv(level) for conv, level in zip(self.smooth, path[1:], strict=True)]
        return self.extra_blocks([path[0], *smoothed], x, names)


LAST_LEVELS: dict[str, Callable[[int], ExtraFPNBlock]] = {
    "pool": lambda channels: LastLevelMaxPool(),
    "conv": LastLevelConv,
}
