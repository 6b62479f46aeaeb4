"""A picture of a model's fusions: a row for each, in it a heat map over the image per source level.

A column is a level. All maps of a picture share one colour scale.
"""

from __future__ import annotations

import math
from collections import Counter

import cv2
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from mpl_toolkits.axes_grid1 import ImageGrid

from afpn_yolo.plots.fusion_maps import FusionMap, FusionView, Image

DPI = 110
CELL = 2.7  # inches: the longer side of the image in a cell
LEAST = 0.9  # inches: the shorter side of a cell, so that its label fits
GAP, TITLE, BAR, LINE = 0.06, 0.27, 0.13, 0.17  # inches
SCALE = 0.75  # inches: the colour scale with its numbers and its title
HEAT = 0.7  # opacity of the maps
GREYS = (-130, 385)  # black to white: a flat photograph lets the colours be read
COLOURS = "viridis"
BOXES = colormaps["tab10"].colors  # type: ignore[attr-defined]

Range = tuple[float, float]


def tight_range(maps: list[FusionMap]) -> Range:
    """The range of all weights, outwards to tenths.

    A trained model's weights stay near an equal share; from 0 to 1, its maps would look flat.
    """
    low = min(float(item.weights.min()) for item in maps)
    high = max(float(item.weights.max()) for item in maps)
    return math.floor(low * 10) / 10, math.floor(high * 10 + 1) / 10


def draw(view: FusionView, title: str, colours: Range | None = None) -> Figure:
    """Draw the image with its detections, and below it a row per fusion.

    Args:
        view: The image and its maps.
        title: Stands over the image.
        colours: The weights that the colour scale spans; None: `tight_range`.
    """
    span = colours or tight_range(view.maps)
    strides = sorted({stride for item in view.maps for stride in item.strides})
    rows, columns = len(view.maps) + 1, len(strides)
    height, width = view.image.shape[:2]
    scale = CELL / max(height, width)  # inches per pixel
    cell = max(width * scale, LEAST), max(height * scale, LEAST)
    across = columns * (cell[0] + GAP) + GAP + SCALE
    down = rows * (cell[1] + TITLE) + GAP
    figure = Figure(figsize=(across, down), dpi=DPI, facecolor="white")
    grid = ImageGrid(
        figure,
        (GAP / across, GAP / down, 1 - (GAP + SCALE - BAR) / across, 1 - (GAP + TITLE) / down),
        nrows_ncols=(rows, columns),
        axes_pad=(GAP, TITLE),
        cbar_mode="single",
        cbar_size=BAR,
        cbar_pad=2 * GAP,
    )
    for axes in grid:
        axes.set_xlim(0, cell[0] / scale)
        axes.set_ylim(cell[1] / scale, 0)
        axes.set_axis_off()
    _draw_image(grid[0], view, title)
    _draw_classes(grid[1], view, room=int(cell[1] / LINE))
    backdrop = _backdrop(view.image, scale * DPI)
    for row, item in enumerate(view.maps, start=1):
        text = f"row {item.row}: {item.levels[item.target]} ← {', '.join(item.levels)}"
        _title(grid[row * columns], text)
        for source, stride in enumerate(item.strides):
            axes = grid[row * columns + strides.index(stride)]
            heat = _draw_map(axes, item, source, backdrop, (width, height), span)
    bar = figure.colorbar(heat, cax=grid.cbar_axes[0])
    bar.ax.set_facecolor("0.5")  # the maps lie on grey, too
    bar.ax.tick_params(labelsize=8)
    bar.set_label("weight of a source level; number: mean over the image", fontsize=9)
    return figure


def _title(axes: Axes, text: str) -> None:
    title = axes.set_title(text, loc="left", fontsize=9, weight="bold", pad=3)
    title.set_parse_math(False)  # a name may hold a $


def _backdrop(image: Image, scale: float) -> Image:
    """The image in grey, as small as it is drawn."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey.astype("uint8")


def _draw_map(
    axes: Axes, item: FusionMap, source: int, backdrop: Image, size: tuple[int, int], span: Range
) -> AxesImage:
    width, height = size
    low, high = GREYS
    axes.imshow(backdrop, cmap="gray", vmin=low, vmax=high, extent=(0, width, height, 0))
    heat = axes.imshow(
        item.weights[source],
        cmap=COLOURS,
        vmin=span[0],
        vmax=span[1],
        alpha=HEAT,
        extent=item.extent,
        interpolation="nearest",
    )
    heat.set_clip_path(Rectangle((0, 0), width, height, transform=axes.transData))
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
    return heat


def _draw_image(axes: Axes, view: FusionView, title: str) -> None:
    height, width = view.image.shape[:2]
    _title(axes, title)
    axes.imshow(view.image[..., ::-1], extent=(0, width, height, 0))
    colours = _class_colours(view)
    for x1, y1, x2, y2, _, label in view.boxes.tolist():
        colour = colours[int(label)]
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=colour, lw=1.2))


def _class_colours(view: FusionView) -> dict[int, tuple[float, float, float]]:
    """A colour for each class that was found, the most frequent first."""
    order = Counter(sorted(view.boxes[:, 5].astype(int).tolist())).most_common()
    return {label: BOXES[i % len(BOXES)] for i, (label, _) in enumerate(order)}


def _draw_classes(axes: Axes, view: FusionView, room: int) -> None:
    """Beside the image: what was found, as many classes as there is room for."""
    counts = Counter(view.boxes[:, 5].astype(int).tolist())
    handles = [
        Patch(color=colour, label=f"{counts[label]} {view.names[label]}")
        for label, colour in list(_class_colours(view).items())[:room]
    ]
    if handles:
        axes.legend(handles=handles, loc="upper left", frameon=False, fontsize=9, handlelength=1)
