"""Necks as rows of a model YAML: what a kind of neck is made of stands in `NECKS`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

OPTIONS = {
    "plain": "`plain`: levels are brought to the target's size by a convolution without BatchNorm "
    "and activation.",
}
"""Options of a fusion that a neck here uses, and what is written of them in its YAML."""


@dataclass(frozen=True)
class Form:
    """What kinds of AFPN differ in.

    Attributes:
        about: Goes on behind "YOLO with AFPN as its neck." in a YAML's first lines.
        fusion: The layer that fuses levels.
        options: Words behind the target in a fusion's row.
        shares: The widths within, as shares of those that the head reads: finest level first, the
            last one for all levels that are left.
        lateral: Whether every level has a second 1x1 convolution before it is fused.
        units: Residual units behind every fusion.
        taps: Whether the backbone's own features stand beside the fused ones at the end.
    """

    about: str = ""
    fusion: str = "AFPNFusion"
    options: tuple[str, ...] = ()
    shares: tuple[float, ...] = (0.25,)
    lateral: bool = True
    units: int = 3
    taps: bool = False

    def share(self, i: int) -> float:
        """Of the level at a position, finest first."""
        return self.shares[min(i, len(self.shares) - 1)]


NECKS: dict[str, Form | None] = {
    "afpn": Form(),
    "lite": Form(
        "The lite form: shallow, and with the backbone's own features beside the fused levels.",
        options=("plain",),
        shares=(3 / 8, 5 / 16, 1 / 4),
        lateral=False,
        units=0,
        taps=True,
    ),
    "sum": Form(
        "Element-wise sum in place of ASFF in every fusion: a line of the paper's Table V.",
        "AFPNSum",
    ),
    "concat": Form(
        "Concatenation in place of ASFF in every fusion: a line of the paper's Table V.",
        "AFPNConcat",
    ),
    "none": None,
}
"""Kind of neck -> its form; None is a control, a 1x1 convolution per level and no fusion."""

NARROWER = ((1 / 4,), (1 / 8, 1 / 4), (1 / 8, 3 / 16), (1 / 8,))
"""Shares for a neck that would take more than the stock one, to be tried in this order.

The finest level comes first, which costs the most operations.
"""


@dataclass(frozen=True)
class Level:
    """A level of the pyramid.

    Attributes:
        number: Its stride is 2**number.
        tap: The backbone's row that gives it.
        width: What a row asks for to give the channels that the head reads; those of `tap` where
            it reads none.
        read: Whether the head reads it; it is fused to the others where not.
    """

    number: int
    tap: int
    width: int
    read: bool = True


@dataclass(frozen=True)
class Row:
    """A row of a model YAML, and what is written about it.

    Attributes:
        content: `[from, number, module, args]`.
        note: Stands behind it.
        heading: Stands above it.
        gap: Whether a part begins with it, so that a line is left empty above.
    """

    content: list[Any]
    note: str = ""
    heading: str = ""
    gap: bool = False


@dataclass
class Rows:
    """Rows of a neck as they grow; `first` is the number of the first one."""

    first: int
    rows: list[Row] = field(default_factory=list)

    def add(self, source: Any, module: str, args: list[Any], note: str, heading: str = "") -> int:
        """Append a row; returns its number."""
        gap = bool(heading) and module != "AFPNResidual"  # which belongs to the fusions above
        self.rows.append(Row([source, 1, module, args], f": {note}", heading, gap))
        return self.first + len(self.rows) - 1


def neck_rows(
    form: Form | None, levels: Sequence[Level], first: int
) -> tuple[list[Row], list[int]]:
    """The rows of a neck.

    Args:
        form: One of `NECKS`.
        levels: Consecutive levels, at least two, finest first; the coarsest may be unread.
        first: The number of the first row.

    Returns:
        The rows, and the numbers of those that the head reads, finest level first.
    """
    rows = Rows(first)
    if form is None:
        outputs = [rows.add(x.tap, "AFPNConv", [x.width], f"P{x.number}") for x in levels if x.read]
        return rows.rows, outputs
    ready = _reduced(form, levels, rows)
    fused = ready[:1]
    for joining in range(1, len(levels)):
        sources = [*fused, ready[joining]]
        fused = _stage(form, levels[: joining + 1], sources, rows, joining == len(levels) - 1)
    return rows.rows, _expanded(form, levels, fused, rows)


def _reduced(form: Form, levels: Sequence[Level], rows: Rows) -> list[int]:
    """Every level at the neck's own width, and its lateral."""
    shares = [str(Fraction(share)) for share in form.shares]
    listed = f"{', '.join(shares[:-1])} and {shares[-1]}" if len(shares) > 1 else shares[0]
    order = ", finest level first" if len(shares) > 1 else ""
    headings = [
        f"Reduce: the neck works at {listed} of the widths that the head reads{order}.",
        "Lateral: one more 1x1 convolution per level.",
    ]
    found = [x.tap for x in levels]
    for heading in headings[: 1 + form.lateral]:
        found = [
            rows.add(source, "AFPNConv", [x.width, form.share(i)], _level(x), heading * (i == 0))
            for i, (source, x) in enumerate(zip(found, levels, strict=True))
        ]
    return found


def _stage(
    form: Form, levels: Sequence[Level], sources: list[int], rows: Rows, final: bool
) -> list[int]:
    """Fuse the levels, each from all of them, and refine each; at last only those that are read."""
    first, *_, last = levels
    if len(levels) == 2:
        fuse = (
            f"Stage 1: fuse levels {first.number} and {last.number}. A fusion's sources are "
            "consecutive levels, finest first; its argument says which of them comes out, counted "
            f"from 0.{' '.join(('', *(OPTIONS[word] for word in form.options)))}"
        )
        refine = (
            f"{form.units} residual units on each. They are counted in the argument, since the "
            "depth of a scale multiplies the row's own number, and this neck has as many at every "
            "scale."
        )
    else:
        fuse = (
            f"Stage {len(levels) - 1}: level {last.number} joins, now that its neighbours have "
            "come closer to it."
        )
        refine = ""
    wanted = [x for x in levels if x.read or not final]
    if len(wanted) < len(levels):
        unread = " and ".join(str(x.number) for x in levels[len(wanted) :])
        fuse += f" Nothing is fused to level {unread}, which the head doesn't read."
    fused = [
        rows.add(sources, form.fusion, [i, *form.options], _level(x), fuse * (i == 0))
        for i, x in enumerate(wanted)
    ]
    if not form.units:
        return fused
    return [
        rows.add(source, "AFPNResidual", [form.units], _level(x), refine * (i == 0))
        for i, (source, x) in enumerate(zip(fused, wanted, strict=True))
    ]


def _expanded(form: Form, levels: Sequence[Level], fused: list[int], rows: Rows) -> list[int]:
    """Back to the widths that the head reads."""
    levels = [x for x in levels if x.read]
    heading = "Expand: back to the widths that the head reads."
    if form.taps:
        heading = "Expand to the widths that the head reads, with the backbone's features in sight."
        fused = [
            rows.add([source, x.tap], "Concat", [1], _level(x), heading * (i == 0))
            for i, (source, x) in enumerate(zip(fused, levels, strict=True))
        ]
        heading = ""
    return [
        rows.add(source, "AFPNConv", [x.width], f"P{x.number}", heading * (i == 0))
        for i, (source, x) in enumerate(zip(fused, levels, strict=True))
    ]


def _level(x: Level) -> str:
    return f"level {x.number}"
