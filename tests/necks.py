"""Necks by chance, for hypothesis: any that the rules allow, and ones that break a rule."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Config = dict[str, Any]
FUSIONS = ("AFPNFusion", "AFPNSum", "AFPNConcat")


@dataclass(frozen=True)
class Row:
    """What a row gives: its level (stride 2**level) and its channels."""

    level: int
    channels: int


@dataclass(frozen=True)
class Neck:
    """A model YAML, and what it promises.

    Attributes:
        config: The YAML's content.
        rows: What each row but the last gives.
        read: The rows that the detection head reads.
    """

    config: Config
    rows: list[Row]
    read: list[int]

    @property
    def stride(self) -> int:
        """Image sides must be multiples of it."""
        return int(2 ** max(row.level for row in self.rows))

    def used(self) -> set[int]:
        """The rows on which the head's inputs depend."""
        content = self.config["backbone"] + self.config["head"]
        found: set[int] = set()
        waiting = [*self.read]
        while waiting:
            i = waiting.pop()
            found.add(i)
            sources = content[i][0] if isinstance(content[i][0], list) else [content[i][0]]
            waiting += [s if s >= 0 else i + s for s in sources if s >= 0 or i + s >= 0]
        return found


def scaled(channels: int, width: float, most: int) -> int:
    """The parser's rule, written anew: width times what is asked for, up to a multiple of 8."""
    exact = min(channels, most) * width
    return max(8, int(-(-exact // 8) * 8))


@st.composite
def necks(draw: st.DrawFn) -> Neck:
    """Backbones of two to five levels behind up to two more, up to eight rows of ours."""
    first, levels = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    levels = min(levels, 7 - first)  # Ultralytics measures strides on 256 pixels
    width, most = draw(st.sampled_from([0.25, 0.5, 1.0])), draw(st.sampled_from([24, 64, 1024]))
    depth = draw(st.sampled_from([0.33, 1.0, 1.33]))
    rows: list[Row] = []
    backbone: list[list[Any]] = []
    for level in range(1, first + levels):
        channels = draw(st.integers(1, 64))
        backbone.append([-1, 1, "Conv", [channels, 3, 2]])
        rows.append(Row(level, scaled(channels, width, most)))
    head: list[list[Any]] = []
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from([*FUSIONS, *FUSIONS, "AFPNConv", "AFPNResidual"]))
        make = _fusion if kind in FUSIONS else _unary
        row, given = make(draw, kind, rows, first, lambda c: scaled(c, width, most))
        head.append(row)
        rows.append(given)
    last = len(rows) - 1
    others = draw(st.lists(st.sampled_from(range(len(rows))), max_size=2))
    read = sorted({last, *others}, key=lambda i: (rows[i].level, i))
    head.append([read, 1, "Detect", ["nc"]])
    config = {"nc": draw(st.integers(1, 3)), "scales": {"n": [depth, width, most]}, "scale": "n"}
    return Neck({**config, "backbone": backbone, "head": head}, rows, read)


def _fusion(
    draw: st.DrawFn, kind: str, rows: list[Row], first: int, scale: Callable[[int], int]
) -> tuple[list[Any], Row]:
    """Consecutive levels, each from any row that has it."""
    coarsest = max(row.level for row in rows)
    finest = draw(st.integers(first, coarsest - 1))
    end = draw(st.integers(finest + 1, coarsest))
    taken = [
        draw(st.sampled_from([i for i, row in enumerate(rows) if row.level == level]))
        for level in range(finest, end + 1)
    ]
    target = draw(st.integers(0, len(taken) - 1))
    args = [target]
    if kind == "AFPNFusion" and draw(st.booleans()):
        args.append(draw(st.integers(1, 12)))
    sources = [_reference(draw, i, len(rows)) for i in taken]
    return [sources, 1, kind, args], rows[taken[target]]


def _unary(
    draw: st.DrawFn, kind: str, rows: list[Row], first: int, scale: Callable[[int], int]
) -> tuple[list[Any], Row]:
    i = draw(st.sampled_from(range(len(rows))))
    source = _reference(draw, i, len(rows))
    if kind == "AFPNConv":
        channels = draw(st.integers(1, 96))
        return [source, 1, kind, [channels]], Row(rows[i].level, scale(channels))
    args = draw(st.sampled_from([[], [1], [2]]))
    return [source, draw(st.integers(1, 3)), kind, args], rows[i]


def _reference(draw: st.DrawFn, i: int, here: int) -> int:
    """A row as seen from row `here`: counted from the first, or backwards."""
    return i - here if draw(st.booleans()) else i


Change = Callable[[list[Any]], object]


def _put(place: int, value: object) -> Change:
    return lambda row: row.__setitem__(place, value)


BROKEN_FUSION: dict[str, Change] = {
    "one source": lambda row: row[0].__delitem__(slice(1, None)),
    "no source": lambda row: row[0].clear(),
    "wrong order": lambda row: row[0].reverse(),
    "a level twice": lambda row: row[0].__setitem__(1, row[0][0]),
    "no list of sources": lambda row: row.__setitem__(0, row[0][0]),
    "target behind the last": lambda row: row[3].__setitem__(0, len(row[0])),
    "target -1": lambda row: row[3].__setitem__(0, -1),
    "target a string": lambda row: row[3].__setitem__(0, "fine"),
    "target a variable of the parser": lambda row: row[3].__setitem__(0, "n"),
    "target true": lambda row: row[3].__setitem__(0, True),
    "no arguments": _put(3, []),
    "three arguments": lambda row: row[3].extend([8, 8]),
    "number 3": _put(1, 3),
}
BROKEN_CONV: dict[str, Change] = {
    "no channels": _put(3, [0]),
    "negative channels": _put(3, [-8]),
    "half a channel": _put(3, [8.5]),
    "a list of sources": lambda row: row.__setitem__(0, [row[0]]),
}
BROKEN_RESIDUAL: dict[str, Change] = {
    "no repeats": _put(3, [0]),
    "negative repeats": _put(3, [-1]),
    "two arguments": _put(3, [1, 1]),
}
BROKEN_ANY: dict[str, Change] = {
    "number 0": _put(1, 0),
    "negative number": _put(1, -1),
    "number a string": _put(1, "one"),
    "number null": _put(1, None),
    "a source that isn't there": _put(0, 99),
    "a source far back": _put(0, -99),
    "a source that is null": _put(0, None),
    "three items": lambda row: row.pop(),
    "five items": lambda row: row.append(1),
    "misspelt": lambda row: row.__setitem__(2, f"{row[2]}s"),
    "arguments no list": _put(3, 1),
    "arguments null": _put(3, None),
    "a list as the module": _put(2, ["AFPNSum"]),
}
BROKEN_ROWS = {
    **dict.fromkeys(FUSIONS, BROKEN_FUSION),
    "AFPNConv": BROKEN_CONV,
    "AFPNResidual": BROKEN_RESIDUAL,
}
BROKEN_YAML: dict[str, Callable[[Config], object]] = {
    "a scale that isn't there": lambda d: d.__setitem__("scale", "s"),
    "no width": lambda d: d["scales"]["n"].pop(),
    "width a string": lambda d: d["scales"]["n"].__setitem__(1, "wide"),
    "width 0": lambda d: d["scales"]["n"].__setitem__(1, 0),
    "a number for a row": lambda d: d["head"].__setitem__(-1, 3),
    "no classes": lambda d: d.__setitem__("nc", 0),
}


def _with_another(neck: Neck) -> Config:
    """A copy with one more row of ours: a YAML without any is for Ultralytics to refuse."""
    config = copy.deepcopy(neck.config)
    config["head"].insert(-1, [-1, 1, "AFPNConv", [8]])
    return config


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, Config]:
    """A neck that breaks one rule, and which."""
    config = _with_another(draw(necks()))
    row = config["head"][draw(st.integers(0, len(config["head"]) - 3))]
    rules = {**BROKEN_ROWS[row[2]], **BROKEN_ANY}
    name = draw(st.sampled_from([*rules, *BROKEN_YAML]))
    if name in rules:
        rules[name](row)
    else:
        BROKEN_YAML[name](config)
    return name, config


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 40) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@st.composite
def littered(draw: st.DrawFn) -> Config:
    """A neck with anything at all at one place of a row of ours."""
    config = _with_another(draw(necks()))
    rows = config["head"]
    i = draw(st.integers(0, len(rows) - 3))
    place = draw(st.integers(0, 3))
    inside = isinstance(rows[i][place], list) and rows[i][place] and draw(st.booleans())
    if inside:
        rows[i][place][draw(st.integers(0, len(rows[i][place]) - 1))] = draw(JUNK)
    else:
        rows[i][place] = draw(JUNK)
    return config
