"""The picture of a neck: every row of a model YAML between backbone and head, by level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from torch import nn

from afpn_yolo.base.yaml_rows import backbone_rows, image_channels
from afpn_yolo.graft.shapes import run_rows, sources_of
from afpn_yolo.layers import AFPNResidual, LevelFusion
from afpn_yolo.upstream.models import empty_model

COLOURS = {
    "backbone": ("#e8e8e8", "#666666"),
    "Conv": ("#dbe9f6", "#2f6ea5"),
    "fusion": ("#fbe3c8", "#b5651d"),
    "AFPNResidual": ("#dcefd8", "#3b7d33"),
    "Detect": ("#f3dcec", "#8e3a7b"),
}
OTHER = ("#f5f2d0", "#8a8330")
WIDTH, HEIGHT = 1.5, 0.72
STEP, RISE = 2.35, 1.75
BEND = 0.35  # the corners of an arc
Spot = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """One row of the YAML: column and stride say where it stands."""

    row: int
    sources: tuple[int, ...]
    kind: str
    text: str
    column: int
    stride: int


def collect(name: str) -> list[Box]:
    """Build the model, run it once, and read columns and strides off its rows.

    A row's column is the longest way to it from the backbone, so that an arrow never runs back.
    Rows that give a list of levels, and no level, have no place.
    """
    model: Any = empty_model(name).eval()
    side = 256
    rows = model.model[:-1]
    image = torch.zeros(1, image_channels(model), side, side)
    with torch.inference_mode():
        outputs = run_rows(rows, {-1: image}, range(len(rows)))
    boxes: dict[int, Box] = {}
    for row, layer in enumerate(rows):
        if not isinstance(outputs[row], torch.Tensor):
            continue
        sources = tuple(source for source in sources_of(layer) if source in boxes)
        stride, channels = side // outputs[row].shape[2], outputs[row].shape[1]
        kind = text = type(layer).__name__
        if row < backbone_rows(model):
            sources, kind, text = (), "backbone", f"C{stride.bit_length() - 1}"
        elif isinstance(layer, LevelFusion):
            kind, text = "fusion", "fuse"
        elif isinstance(layer, AFPNResidual):
            text = f"{len(layer)} residual"
        elif isinstance(getattr(layer, "conv", None), nn.Conv2d):
            kind, text = "Conv", "{}x{} conv".format(*layer.conv.kernel_size)
        column = 1 + max((boxes[f].column for f in sources), default=-1)
        boxes[row] = Box(row, sources, kind, f"{text}\n{channels}", column, stride)
    head, kind = sources_of(model.model[-1]), type(model.model[-1]).__name__
    used = {*head, *(f for box in boxes.values() for f in box.sources)}
    column = 1 + max(boxes[f].column for f in head)
    detect = [Box(1000 + f, (f,), "Detect", kind, column, boxes[f].stride) for f in head]
    drawn = [box for box in boxes.values() if box.kind != "backbone" or box.row in used]
    return _as_late_as_possible([*drawn, *detect])


def _as_late_as_possible(boxes: list[Box]) -> list[Box]:
    """Move rows towards those that use them: a level that joins late stands where it joins."""
    late = {box.row: box.column for box in boxes}
    for box in sorted(boxes, key=lambda b: -b.column):
        users = [late[b.row] for b in boxes if box.row in b.sources]
        if users and box.kind != "backbone":
            late[box.row] = min(users) - 1
    return [replace(box, column=late[box.row]) for box in boxes]


ARROWS = {
    0: ("same level", "#444444"),
    1: ("from coarser: upsampled", "#b03030"),
    -1: ("from finer: strided", "#2f6ea5"),
}
ALIGNED = "from coarser: 1x1, upsampled"  # as our fusions take a coarser level


def _draw_box(axes: Axes, box: Box, x: float, y: float) -> None:
    fill, edge = COLOURS.get(box.kind, OTHER)
    style: Any = {"boxstyle": "round,pad=0.02,rounding_size=0.12", "fc": fill, "ec": edge}
    corner = (x - WIDTH / 2, y - HEIGHT / 2)
    axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, lw=1.4, zorder=3, **style))
    longest = max(map(len, box.text.splitlines()))
    size = 10.5 if longest <= 10 else 84 / longest  # so that RepNCSPELAN4 fits in
    axes.text(x, y, box.text, ha="center", va="center", fontsize=size, zorder=4)


def _draw_arrow(axes: Axes, start: Spot, end: Spot, rise: float) -> int:
    """From one box to another, with a rise over those between them; returns its direction."""
    (left, own), (right, other) = start, end
    direction = (other > own) - (other < own)
    if rise:
        own += HEIGHT / 2 + 0.03
        way = [(left, own), (left, own + rise), (left + BEND, own + rise)]
        way += [(right - BEND, own + rise), (right, own + rise), (right, own)]
        codes = [Path.MOVETO, Path.CURVE3, Path.CURVE3, Path.LINETO, Path.CURVE3, Path.CURVE3]
    else:
        aside = WIDTH / 2 + 0.03
        way = [(left + aside, own), (right - aside, other - 0.13 * direction)]
        codes = [Path.MOVETO, Path.LINETO]
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 10.0, "lw": 1.3, "zorder": 2}
    axes.add_patch(FancyArrowPatch(path=Path(way, codes), color=ARROWS[direction][1], **style))
    return direction


def draw(boxes: list[Box], title: str) -> Figure:
    """The picture; save it with `bbox_inches="tight"`."""
    strides = sorted({box.stride for box in boxes})
    columns = max(b.column for b in boxes)
    spot = {b.row: (b.column * STEP, -strides.index(b.stride) * RISE) for b in boxes}
    figure = Figure(dpi=110, facecolor="white")
    axes = figure.add_subplot()
    top = 0.6
    kinds: dict[int, set[str]] = {key: set() for key in ARROWS}  # of what the arrows lead to
    for box in boxes:
        _draw_box(axes, box, *spot[box.row])
        for source in box.sources:
            (left, level), (right, own) = spot[source], spot[box.row]
            # Over the boxes that it passes; a longer way lies higher.
            passed = any(left < x < right and y == level == own for x, y in spot.values())
            rise = min(0.22 + 0.03 * (right - left) / STEP, 0.5) if passed else 0.0
            kinds[_draw_arrow(axes, (left, level), (right, own), rise)].add(box.kind)
            top = max(top, level + HEIGHT / 2 + rise + 0.2)
    for index, stride in enumerate(strides):
        label = f"level {stride.bit_length() - 1}\nstride {stride}"
        axes.text(-1.35, -index * RISE, label, ha="right", va="center", fontsize=10.5)
    for direction, (label, colour) in ARROWS.items():
        if kinds[direction]:
            aligned = direction == 1 and kinds[direction] == {"fusion"}
            axes.plot([], [], color=colour, label=ALIGNED if aligned else label)
    below = (0.5, 0.02)
    axes.legend(loc="upper center", bbox_to_anchor=below, ncol=3, frameon=False, fontsize=10.5)
    axes.set_title(title, fontsize=12.5)
    axes.set_xlim(-2.9, columns * STEP + 1.1)
    axes.set_ylim(-(len(strides) - 1) * RISE - 0.75, top)
    figure.set_size_inches(1.62 * columns + 2.6, 1.45 * len(strides) + 0.9 + 0.83 * (top - 0.6))
    axes.set_axis_off()
    return figure
