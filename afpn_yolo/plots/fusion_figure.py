"""A picture of a model's fusions: a row for each, with a heat map over the image per level."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import cv2
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle

from afpn_yolo.plots.fusion_maps import FusionMap, FusionView

DPI = 110
CELL = 2.7  # inches: the longer side of the image in a cell
LEAST = 0.9  # inches: the shorter side of a cell, so that its label fits
TITLE, BAR, LINE = 0.27, 1.0, 0.17  # inches; of the bar: with its numbers and its title
BOXES = colormaps["tab10"].colors  # type: ignore[attr-defined]

Range = tuple[float, float]


def draw(view: FusionView, title: str, colours: Range | None = None) -> Figure:
    """Draw the image with its detections, and below it a row per fusion.

    Args:
        view: The image and its maps.
        title: Stands over the image.
        colours: The weights that the colour scale spans. None: those of the maps, outwards to
            tenths; they stay near an equal share, and would look flat from 0 to 1.
    """
    low = min(float(item.weights.min()) for item in view.maps)
    high = max(float(item.weights.max()) for item in view.maps)
    span = colours or (math.floor(low * 10) / 10, math.floor(high * 10 + 1) / 10)
    strides = sorted({stride for item in view.maps for stride in item.strides})
    rows, columns = len(view.maps) + 1, len(strides)
    height, width = view.image.shape[:2]
    scale = CELL / max(height, width)  # inches per pixel
    cell = max(width * scale, LEAST), max(height * scale, LEAST)
    page = columns * cell[0] + BAR, rows * (cell[1] + TITLE)
    figure = Figure(page, DPI, facecolor="white", layout="compressed")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xlim=(0, cell[0] / scale), ylim=(cell[1] / scale, 0), aspect="equal")
        axes.set_axis_off()
    _draw_image(grid[0, 0], grid[0, 1], view, room=int(cell[1] / LINE))
    _title(grid[0, 0], title)
    size = [max(1, round(side * min(scale * DPI, 1))) for side in (width, height)]
    backdrop = cv2.cvtColor(view.image, cv2.COLOR_BGR2GRAY)
    backdrop = cv2.resize(backdrop, size, interpolation=cv2.INTER_AREA)
    # Of little contrast (black is 0, white 255), so that the colours can be read.
    for row, item in enumerate(view.maps, start=1):
        text = f"row {item.row}: {item.levels[item.target]} ← {', '.join(item.levels)}"
        _title(grid[row, 0], text)
        for source, stride in enumerate(item.strides):
            axes = grid[row, strides.index(stride)]
            axes.imshow(backdrop, "gray", vmin=-130, vmax=385, extent=(0, width, height, 0))
            heat = _draw_map(axes, item, source, span)
            heat.set_clip_path(Rectangle((0, 0), width, height, transform=axes.transData))
    bar = figure.colorbar(heat, ax=grid, aspect=8 * page[1], pad=0.02)
    bar.ax.set_facecolor("0.5")  # the maps lie on grey, too
    bar.ax.tick_params(labelsize=8)
    bar.set_label("weight of a source level; number: mean over the image", fontsize=9)
    return figure


def _title(axes: Axes, text: str) -> None:
    title = axes.set_title(text, loc="left", fontsize=9, weight="bold", pad=3)
    title.set_parse_math(False)  # a name may hold a $


def _draw_map(axes: Axes, item: FusionMap, source: int, span: Range) -> AxesImage:
    axes.annotate(
        f"{item.levels[source]}  {item.means()[source]:.2f}",
        (0, 1),
        xytext=(4, -4),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=9,
        bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none"},
    )
    style: dict[str, Any] = {"cmap": "viridis", "alpha": 0.7, "interpolation": "nearest"}
    low, high = span
    return axes.imshow(item.weights[source], vmin=low, vmax=high, extent=item.extent, **style)


def _draw_image(axes: Axes, beside: Axes, view: FusionView, room: int) -> None:
    """The image with its boxes; beside it their classes, as many as there is room for."""
    height, width = view.image.shape[:2]
    axes.imshow(view.image[..., ::-1], extent=(0, width, height, 0))
    counts = Counter(sorted(view.boxes[:, 5].astype(int).tolist())).most_common()
    colours = {label: BOXES[i % len(BOXES)] for i, (label, _) in enumerate(counts)}
    for x1, y1, x2, y2, _, label in view.boxes.tolist():
        colour = colours[int(label)]
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=colour, lw=1.2))
    texts = ((colours[label], f"{count} {view.names[label]}") for label, count in counts[:room])
    handles = [Patch(color=colour, label=text) for colour, text in texts]
    if handles:
        legend = beside.legend(
            handles=handles, loc="upper left", frameon=False, fontsize=9, handlelength=1
        )
        legend.set_in_layout(False)
