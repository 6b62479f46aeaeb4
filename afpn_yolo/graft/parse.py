"""Taking a stock model YAML apart: which rows give the levels, and what the head reads of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from afpn_yolo.base.errors import short_repr, yaml_name
from afpn_yolo.base.yaml_rows import absolute
from afpn_yolo.graft.necks import Level
from afpn_yolo.graft.shapes import Cost, Shape, probe, scaled, scaling

TEXT = "a head that reads text beside the features"
UNFIT = {
    "RTDETRDecoder": "RT-DETR's decoder, whose hybrid encoder is a part of the detector",
    "SemanticSegment": "the head of semantic segmentation, which finds no objects",
    "WorldDetect": TEXT,
    "YOLOEDetect": TEXT,
    "YOLOESegment": TEXT,
    "YOLOESegment26": TEXT,
}
"""Heads that read a pyramid and yet not that of any neck, and what they are."""

NO_PYRAMID = (
    "and a neck fuses two levels or more; detection, segmentation, pose and OBB models have such a "
    "pyramid"
)


@dataclass(frozen=True)
class Anatomy:
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


def anatomy(d: Mapping[str, Any], ours: bool = False) -> Anatomy:
    """Take the content of a model YAML apart.

    Args:
        d: The content.
        ours: Its neck may be one of ours: what the head reads is right, the neck's widths not.

    Raises:
        ValueError: When it has no pyramid that a neck could fuse; it says what it has.
    """
    sources = _head_sources(d, ours)
    shapes, cost = probe(d)
    backbone = len(d["backbone"])
    read = [shapes[i] for i in sources]
    if None in read:
        raise ValueError(f"{yaml_name(d)}: its head reads something else than feature maps")
    strides: list[int] = [stride for stride, _ in read]  # type: ignore[misc]
    order = sorted(range(len(strides)), key=lambda i: strides[i])
    if any(strides[b] != 2 * strides[a] for a, b in pairwise(order)):
        raise ValueError(
            f"{yaml_name(d)}: its head reads features of the strides {_listed(strides)}, and AFPN "
            "fuses levels each of which has twice the stride of the one before"
        )
    seen = _read_by_neck(d)
    levels = [
        Level(
            strides[i].bit_length() - 1,
            _tap(d, strides[i], shapes[:backbone], seen),
            _width(d, sources[i], read[i]),  # type: ignore[arg-type]
        )
        for i in order
    ]
    coarsest = max((shapes[i] or (0,))[0] for i in seen)
    stride = 2 * max(strides)
    while stride <= coarsest:
        tap = _tap(d, stride, shapes[:backbone], seen)
        width = _width(d, tap, shapes[tap], read=False)  # type: ignore[arg-type]
        levels.append(Level(stride.bit_length() - 1, tap, width, read=False))
        stride *= 2
    if len(levels) < 2:
        raise ValueError(f"{yaml_name(d)}: its neck and its head read one level, {NO_PYRAMID}")
    return Anatomy(
        tuple(levels),
        tuple(order.index(i) for i in range(len(order))),
        tuple(shapes[:backbone]),
        cost,
    )


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))


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
    found = next((row[2] for row in rows if str(row[2]).startswith("AFPN")), None)
    if found and not ours:
        raise ValueError(
            f"{where}: it has rows of AFPN already, {found} for one; name a stock YAML"
        )
    source, _, module, _ = rows[-1]
    if module in UNFIT:
        raise ValueError(f"{where}: it ends in {module}, {UNFIT[module]}; no neck can be grafted")
    if not isinstance(source, list) or not source:
        raise ValueError(f"{where}: it ends in {module}, which reads one row, {NO_PYRAMID}")
    return absolute(source, len(rows) - 1)


def _read_by_neck(d: Mapping[str, Any]) -> set[int]:
    """The backbone's rows that rows behind it read."""
    first = len(d["backbone"])
    rows = enumerate(d["head"], first)
    return {i for at, row in rows for i in absolute(row[0], at) if i < first}


def _tap(d: Mapping[str, Any], stride: int, shapes: list[Shape | None], seen: set[int]) -> int:
    """The backbone's row that gives the level of a stride: the last one that the stock neck reads.

    Where it reads none of that stride, the backbone's last one.
    """
    found = [i for i, shape in enumerate(shapes) if shape and shape[0] == stride]
    if not found:
        raise ValueError(
            f"{yaml_name(d)}: its head reads a level of stride {stride}, which its backbone "
            "doesn't have; put the rows that make it at the end of the backbone"
        )
    return max([i for i in found if i in seen] or found)


def _width(d: Mapping[str, Any], row: int, shape: Shape, read: bool = True) -> int:
    """What a row of ours must ask for to get the channels of a stock row, whatever the scale.

    Of a level that the head doesn't read, about these channels are enough.
    """
    scale = scaling(d)[1]
    channels, args = shape[1], (d["backbone"] + d["head"])[row][3]
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
