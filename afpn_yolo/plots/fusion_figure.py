"""A picture of a model's fusions: a row for each, in it a heat map over the image per source level.

A column is a level. All maps of a picture share one colour scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from afpn_yolo.plots.fusion_maps import FusionMap, FusionView, Image

DPI = 110
CELL = 2.7  # inches: the longer side of the image in a cell
LEAST = 0.9  # inches: the shorter side of a cell, so that its label fits
GAP, TITLE, MARGIN = 0.06, 0.27, 0.08  # inches
KEY, KEY_HEIGHT, LINE = 2.75, 0.85, 0.17  # inches: the key without classes, a line of text
HEAT = 0.7  # opacity of the maps
GREYS = (-130, 385)  # black to white: a flat photograph lets the colours be read
COLOURS = "viridis"
BOXES = colormaps["tab10"].colors  # type: ignore[attr-defined]

Range = tuple[float, float]


@dataclass(frozen=True)
class _Grid:
    """Where things lie, in inches from the upper left corner."""

    columns: int
    rows: int  # without the first, which holds the image
    width: float  # of a cell
    height: float

    @property
    def size(self) -> tuple[float, float]:
        cells = self.columns * (self.width + GAP) - GAP
        across = max(cells, self.width + GAP + KEY)
        down = (self.rows + 1) * (self.height + TITLE)
        return across + 2 * MARGIN, down + MARGIN

    def place(self, column: float, row: int) -> tuple[float, float]:
        """Left and upper edge of a cell."""
        left = MARGIN + column * (self.width + GAP)
        return left, TITLE + row * (self.height + TITLE)

    def axes(self, figure: Figure, box: tuple[float, float, float, float]) -> Axes:
        """New axes; `box` is left, top, width, height."""
        left, top, width, height = box
        across, down = self.size
        bottom = down - top - height
        return figure.add_axes((left / across, bottom / down, width / across, height / down))

    def text(self, figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
        across, down = self.size
        figure.text(
            left / across,
            1 - top / down,
            text,
            va="top",
            fontsize=9,
            parse_math=False,  # a name may hold a $
            **style,
        )


def tight_range(maps: list[FusionMap]) -> Range:
    """What the colours shall span: all weights, outwards to tenths.

    A trained model's weights stay near an equal share; from 0 to 1, its maps would look flat.
    """
    low = min(float(item.weights.min()) for item in maps)
    high = max(float(item.weights.max()) for item in maps)
    return math.floor(low * 10) / 10, math.floor(high * 10 + 1) / 10


def draw(view: FusionView, title: str, colours: Range | None = None) -> Figure:
    """Draw the image with what was found in it, and below it a row per fusion.

    Args:
        view: The image and its maps.
        title: Stands over the image.
        colours: The weights that the colour scale spans; None: `tight_range`.
    """
    span = colours or tight_range(view.maps)
    strides = sorted({stride for item in view.maps for stride in item.strides})
    height, width = view.image.shape[:2]
    scale = CELL / max(height, width)
    cell = max(width * scale, LEAST), max(height * scale, LEAST)
    grid = _Grid(len(strides), len(view.maps), *cell)
    figure = Figure(figsize=grid.size, dpi=DPI, facecolor="white")
    _draw_image(grid, figure, view, title)
    _draw_key(grid, figure, view, span)
    backdrop = _backdrop(view.image, scale * DPI)
    for row, item in enumerate(view.maps, start=1):
        left, top = grid.place(0, row)
        text = f"row {item.row}: {item.levels[item.target]} ← {', '.join(item.levels)}"
        grid.text(figure, left, top - TITLE + 0.1, text, weight="bold")
        for source, stride in enumerate(item.strides):
            axes = grid.axes(figure, (*grid.place(strides.index(stride), row), *cell))
            _draw_map(axes, item, source, backdrop, (width, height), span)
    return figure


def _backdrop(image: Image, scale: float) -> Image:
    """The image in grey, as small as it is drawn."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey.astype("uint8")


def _fit(axes: Axes, size: tuple[int, int]) -> None:
    """Cut axes to the image (width, height) and leave nothing else of them."""
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)
    axes.set_anchor("NW")
    axes.set_axis_off()


def _draw_map(
    axes: Axes, item: FusionMap, source: int, backdrop: Image, size: tuple[int, int], span: Range
) -> None:
    axes.imshow(
        backdrop, cmap="gray", vmin=GREYS[0], vmax=GREYS[1], extent=(0, size[0], size[1], 0)
    )
    axes.imshow(
        item.weights[source],
        cmap=COLOURS,
        vmin=span[0],
        vmax=span[1],
        alpha=HEAT,
        extent=item.extent,
        interpolation="nearest",
    )
    _fit(axes, size)
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


def _draw_image(grid: _Grid, figure: Figure, view: FusionView, title: str) -> None:
    height, width = view.image.shape[:2]
    left, top = grid.place(0, 0)
    grid.text(figure, left, top - TITLE + 0.1, title, weight="bold")
    axes = grid.axes(figure, (left, top, grid.width, grid.height))
    axes.imshow(view.image[..., ::-1], extent=(0, width, height, 0))
    colours = _class_colours(view)
    for x1, y1, x2, y2, _, found in view.boxes.tolist():
        colour = colours[int(found)]
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=colour, lw=1.2))
    _fit(axes, (width, height))


def _class_colours(view: FusionView) -> dict[int, tuple[float, float, float]]:
    """A colour for each class that was found, the most frequent first."""
    found = view.boxes[:, 5].astype(int).tolist()
    order = sorted(set(found), key=lambda name: (-found.count(name), name))
    return {name: BOXES[i % len(BOXES)] for i, name in enumerate(order)}


def _draw_key(grid: _Grid, figure: Figure, view: FusionView, span: Range) -> None:
    """Beside the image: the colour scale, how to read it, and the classes that were found."""
    left, top = grid.place(1, 0)
    left += 0.12
    grid.text(figure, left, top, "Weight of a source level in a fusion")
    axes = grid.axes(figure, (left + 0.05, top + 0.2, KEY - 0.4, 0.13))
    axes.set_facecolor("0.5")  # the maps lie on grey, too
    scale = np.linspace(*span, 256)[None]
    axes.imshow(scale, cmap=COLOURS, alpha=HEAT, extent=(*span, 0, 1), aspect="auto")
    ticks = [span[0], sum(span) / 2, span[1]]
    axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks], fontsize=8)
    axes.tick_params(length=2, pad=1)
    axes.set_yticks([])
    lines = ["The weights in a row add up to 1 at every", "position. Number: mean over the image."]
    for i, line in enumerate(lines):
        grid.text(figure, left, top + 0.52 + LINE * i, line)
    found = view.boxes[:, 5].astype(int).tolist()
    room = int((grid.height - KEY_HEIGHT) / LINE)
    for i, (name, colour) in enumerate(list(_class_colours(view).items())[: max(room, 0)]):
        text = f"{found.count(name)} {view.names[name]}"
        grid.text(figure, left, top + KEY_HEIGHT + 0.1 + LINE * i, text, color=colour)
