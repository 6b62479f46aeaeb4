"""Which rows of a stock model YAML give the levels, and what the head reads of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from afpn_yolo.base.errors import short_repr, yaml_name
from afpn_yolo.base.yaml_rows import absolute
from afpn_yolo.graft.necks import Level
from afpn_yolo.graft.shapes import Cost, Shape, measure, scaled, scaling

UNFIT = {
    *("RTDETRDecoder", "SemanticSegment"),
    *("WorldDetect", "YOLOEDetect", "YOLOESegment", "YOLOESegment26"),  # they read text as well
}
"""Heads that read a pyramid but don't work with any neck."""

NO_PYRAMID = (
    "and a neck fuses two levels or more; detection, segmentation, pose and OBB models have such a "
    "pyramid"
)


@dataclass(frozen=True)
class Pyramid:
    """What a graft needs to know of a model YAML.

    Attributes:
        levels: Those that the head reads, and coarser ones that only the neck does, finest first.
        order: Positions in `levels`, in the order in which the head lists them.
        shapes: Of the backbone's rows; None where one gives no feature map.
        cost: Of the neck.
    """

    levels: tuple[Level, ...]
    order: tuple[int, ...]
    shapes: tuple[Shape | None, ...]
    cost: Cost


def find_pyramid(d: Mapping[str, Any], ours: bool = False) -> Pyramid:
    """Find the levels in the content of a model YAML, whose neck may be one of ours if `ours`.

    Raises:
        ValueError: When it has no pyramid that a neck could fuse; it says what it has.
    """
    sources = _head_sources(d, ours)
    shapes, cost = measure(d)
    first = len(d["backbone"])
    read = [shapes[i] for i in sources]
    if None in read:
        raise ValueError(f"{yaml_name(d)}: its head reads something else than feature maps")
    strides: list[int] = [stride for stride, _ in read]  # type: ignore[misc]
    order = sorted(range(len(strides)), key=lambda i: strides[i])
    if any(strides[b] != 2 * strides[a] for a, b in pairwise(order)):
        raise ValueError(
            f"{yaml_name(d)}: its head reads features of the strides "
            f"{', '.join(map(str, strides))}, and AFPN fuses levels each of which has twice the "
            "stride of the one before"
        )
    head = enumerate(d["head"], first)
    by_neck = {i for at, row in head for i in absolute(row[0], at) if i < first}
    wanted: list[tuple[int, int | None]] = [(strides[i], sources[i]) for i in order]
    coarsest = max((shapes[i] or (0,))[0] for i in by_neck)
    while 2 * wanted[-1][0] <= coarsest:  # only the stock neck reads these
        wanted.append((2 * wanted[-1][0], None))
    levels = []
    for stride, row in wanted:
        tap = _tap(d, stride, shapes[:first], by_neck)
        width = _width(d, tap if row is None else row, shapes, row is not None)
        levels.append(Level(stride.bit_length() - 1, tap, width, row is not None, _block(d, row)))
    if len(levels) < 2:
        raise ValueError(f"{yaml_name(d)}: its neck and its head read one level, {NO_PYRAMID}")
    positions = tuple(order.index(i) for i in range(len(order)))
    return Pyramid(tuple(levels), positions, tuple(shapes[:first]), cost)


def _head_sources(d: Mapping[str, Any], ours: bool) -> list[int]:
    """The rows that the last row reads, counted from the first."""
    where = yaml_name(d)
    for part in ("backbone", "head"):
        rows = d.get(part)
        listed = rows if isinstance(rows, list) else []
        if not listed or not all(isinstance(row, list) and len(row) == 4 for row in listed):
            raise ValueError(
                f"{where}: {part} must be a list of rows [from, number, module, args], "
                f"got {short_repr(rows)}"
            )
    rows = d["backbone"] + d["head"]
    layer = next((row[2] for row in rows if str(row[2]).startswith("AFPN")), None)
    if layer and not ours:
        raise ValueError(
            f"{where}: it has rows of AFPN already, {layer} for one; name a stock YAML"
        )
    source, _, module, _ = rows[-1]
    if module in UNFIT:
        raise ValueError(f"{where}: it ends in {module}, which works with its own neck only")
    if not isinstance(source, list) or not source:
        raise ValueError(f"{where}: it ends in {module}, which reads one row, {NO_PYRAMID}")
    return absolute(source, len(rows) - 1)


def _tap(
    d: Mapping[str, Any], stride: int, shapes: Sequence[Shape | None], by_neck: set[int]
) -> int:
    """The backbone's last row of a stride, of those that the stock neck reads if there are any."""
    rows = [i for i, shape in enumerate(shapes) if shape and shape[0] == stride]
    if not rows:
        raise ValueError(
            f"{yaml_name(d)}: its head reads a level of stride {stride}, which its backbone "
            "doesn't have; put the rows that make it at the end of the backbone"
        )
    return max([i for i in rows if i in by_neck] or rows)


def _block(d: Mapping[str, Any], row: int | None) -> tuple[int, str, tuple[Any, ...]] | None:
    """A row of the neck without its source; None for one of the backbone."""
    if row is None or row < len(d["backbone"]):
        return None
    _, number, module, args = d["head"][row - len(d["backbone"])]
    return number, module, tuple(args)


def _width(d: Mapping[str, Any], row: int, shapes: Sequence[Shape | None], read: bool) -> int:
    """What a row must ask for to get a stock row's channels at every scale; roughly, if unread."""
    scale = scaling(d)[1]
    _, channels = shapes[row] or (0, 0)
    args = (d["backbone"] + d["head"])[row][3]
    asked = args[0] if args and type(args[0]) is int else 0
    for width in (asked, round(channels / scale[0])):
        if width > 0 and scaled(width, scale) == channels:
            return width
    if not read:
        return width
    raise ValueError(
        f"{yaml_name(d)}: its head reads {channels} channels of row {row}, and no width gives that "
        f"at its narrowest scale: widths come in multiples of 8 there, {scale[1]} channels x "
        f"{scale[0]} at most"
    )
