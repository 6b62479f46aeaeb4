"""Necks as rows of a model YAML: what a kind of neck is made of stands in `NECKS`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

PLAIN = " `plain`: levels are resized by a convolution without BatchNorm and activation."
NEAREST = " `nearest`: and enlarged without interpolation."


@dataclass(frozen=True)
class NeckConfig:
    """What the kinds of AFPN differ in.

    Attributes:
        about: Follows "YOLO with AFPN as its neck." in a YAML's first lines.
        fusion: The layer that fuses levels.
        options: Words after the target in a fusion's row.
        shares: The neck's channels as shares of those that the head reads, finest level first; the
            last share is also that of all further levels.
        lateral: Whether every level has a second 1x1 convolution before it is fused.
        units: Residual units after every fusion.
        taps: Whether the backbone's own features are concatenated to the fused ones at the end.
        blocks: Whether the stock neck's last row of each level comes last here too, in place of a
            1x1 convolution: a checkpoint of the stock model has the weights of most of it.
    """

    about: str = ""
    fusion: str = "AFPNFusion"
    options: tuple[str, ...] = ()
    shares: tuple[float, ...] = (0.25,)
    lateral: bool = True
    units: int = 3
    taps: bool = False
    blocks: bool = False


LITE = NeckConfig(
    "The lite form: shallow, and with the backbone's own features beside the fused levels.",
    options=("plain",),
    shares=(3 / 8, 5 / 16, 1 / 4),
    lateral=False,
    units=0,
    taps=True,
)
LITE_SUM = replace(
    LITE,
    about=f"{LITE.about} Sums in place of ASFF: for accelerators without softmax.",
    fusion="AFPNSum",
    options=("plain", "nearest"),
)
NECKS: dict[str, NeckConfig | None] = {
    "afpn": NeckConfig(),
    "lite": LITE,
    "lite-sum": LITE_SUM,
    "hybrid": replace(
        LITE_SUM,
        about="The lite form with sums, and with the stock neck's last block of each level, for "
        "training from a checkpoint of the stock model.",
        shares=(1 / 4,),
        blocks=True,
    ),
    "sum": NeckConfig(
        "Element-wise sum in place of ASFF in every fusion: a line of the paper's Table V.",
        "AFPNSum",
    ),
    "concat": NeckConfig(
        "Concatenation in place of ASFF in every fusion: a line of the paper's Table V.",
        "AFPNConcat",
    ),
    "none": None,
}
"""Kind of neck -> its design; None is a control, a 1x1 convolution per level and no fusion."""

NARROWER = ((1 / 4,), (1 / 8, 1 / 4), (1 / 8, 3 / 16), (1 / 8,))
"""Shares to be tried in this order where a neck would take more than the stock one."""


@dataclass(frozen=True)
class Level:
    """A level of the pyramid.

    Attributes:
        number: Its stride is 2**number.
        tap: The backbone's row that gives it.
        width: What a row asks for to give the channels that the head reads; those of `tap` where
            it reads none.
        read: Whether the head reads it; it is fused to the others where not.
        block: The stock row that the head reads: its number, module and arguments.
    """

    number: int
    tap: int
    width: int
    read: bool = True
    block: tuple[int, str, tuple[Any, ...]] | None = None


@dataclass(frozen=True)
class Row:
    """A row of a model YAML, `[from, number, module, args]`, with comments after and above it."""

    content: list[Any]
    note: str = ""
    heading: str = ""


@dataclass
class Rows:
    """Rows of a neck as they grow; `first` is the number of the first one."""

    first: int
    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        levels: Sequence[Level],
        sources: Iterable[Any],
        module: str,
        args: Iterable[list[Any]],
        heading: str = "",
        note: str = "level ",
    ) -> list[int]:
        """Append a row for each level, a heading above the first; returns their numbers."""
        return self.append(levels, sources, [(1, module, a) for a in args], heading, note)

    def append(
        self,
        levels: Sequence[Level],
        sources: Iterable[Any],
        contents: Iterable[tuple[int, str, Sequence[Any]]],
        heading: str,
        note: str,
    ) -> list[int]:
        """As `add`, but each row has its own number, module and arguments."""
        start = self.first + len(self.rows)
        for x, source, (number, module, args) in zip(levels, sources, contents, strict=True):
            row = [source, number, module, [*args]]
            self.rows.append(Row(row, f": {note}{x.number}", heading))
            heading = ""
        return [*range(start, self.first + len(self.rows))]


def neck_rows(
    config: NeckConfig | None, levels: Sequence[Level], first: int
) -> tuple[list[Row], list[int]]:
    """The rows of a neck.

    Args:
        config: One of `NECKS`.
        levels: Consecutive levels, at least two, finest first; the coarsest may be unread.
        first: The number of the first row.

    Returns:
        The rows, and the numbers of those that the head reads, finest level first.
    """
    rows = Rows(first)
    read = [x for x in levels if x.read]
    widths = [[x.width] for x in read]
    if config is None:
        outputs = rows.add(read, [x.tap for x in read], "AFPNConv", widths, note="P")
        return rows.rows, outputs
    reduced = _reduce(config, levels, rows)
    fused = reduced[:1]
    for joining in range(1, len(levels)):
        sources = [*fused, reduced[joining]]
        final = joining == len(levels) - 1
        fused = _stage(config, levels[: joining + 1], sources, rows, final)
    heading = "Expand: back to the channels that the head reads."
    if config.taps:
        heading = "Expand: concatenate the backbone's features, then back to the head's channels."
        if config.blocks:
            heading += " The blocks are the stock neck's: weights trained there fit most of them."
        pairs = [[source, x.tap] for source, x in zip(fused, read, strict=True)]
        fused = rows.add(read, pairs, "Concat", [[1] for _ in read], heading)
        heading = ""
    blocks = [x.block for x in read if x.block]
    if config.blocks and len(blocks) == len(read):
        return rows.rows, rows.append(read, fused, blocks, heading, "P")
    return rows.rows, rows.add(read, fused, "AFPNConv", widths, heading, "P")


def _reduce(config: NeckConfig, levels: Sequence[Level], rows: Rows) -> list[int]:
    """Every level at the neck's own width, and its lateral."""
    shares = [str(Fraction(share)) for share in config.shares]
    listed = " and ".join(filter(None, (", ".join(shares[:-1]), shares[-1])))
    order = ", finest level first" if len(shares) > 1 else ""
    headings = [
        f"Reduce: the neck works at {listed} of the channels that the head reads{order}.",
        "Lateral: one more 1x1 convolution per level.",
    ]
    widths = [*config.shares, *config.shares[-1:] * len(levels)]
    args = [[x.width, share] for x, share in zip(levels, widths, strict=False)]
    sources = [x.tap for x in levels]
    for heading in headings[: 1 + config.lateral]:
        sources = rows.add(levels, sources, "AFPNConv", [[*a] for a in args], heading)
    return sources


def _stage(
    config: NeckConfig, levels: Sequence[Level], sources: list[int], rows: Rows, final: bool
) -> list[int]:
    """Fuse and refine each level from all of them; in the final stage only those that are read."""
    first, *_, last = levels
    refine = ""
    if len(levels) == 2:
        fuse = (
            f"Stage 1: fuse levels {first.number} and {last.number}. A fusion's sources are "
            "consecutive levels, finest first; its argument is the position of the one that comes "
            f"out, counted from 0.{PLAIN * ('plain' in config.options)}"
            f"{NEAREST * ('nearest' in config.options)}"
        )
        refine = (
            f"{config.units} residual units on each. Their number is an argument: a row's own "
            "number is multiplied by the scale's depth."
        )
    else:
        fuse = f"Stage {len(levels) - 1}: level {last.number} joins those that are fused already."
    wanted = [x for x in levels if x.read or not final]
    if len(wanted) < len(levels):
        unread = " and ".join(str(x.number) for x in levels[len(wanted) :])
        fuse += f" Nothing is fused to level {unread}, which the head doesn't read."
    args = [[i, *config.options] for i in range(len(wanted))]
    fused = rows.add(wanted, [[*sources] for _ in wanted], config.fusion, args, fuse)
    if not config.units:
        return fused
    return rows.add(wanted, fused, "AFPNResidual", [[config.units] for _ in wanted], refine)
