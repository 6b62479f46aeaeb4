"""How much each level counts, and where: weight maps of a model's fusions, and their picture."""

from __future__ import annotations

import math
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

from afpn_yolo.base.yaml_rows import image_channels
from afpn_yolo.edge.images import read
from afpn_yolo.edge.letterbox import Fit, fill, fit, restore
from afpn_yolo.layers import FusionWeights, LevelFusion
from afpn_yolo.upstream.models import load_model, trained_size
from afpn_yolo.upstream.validator import detections

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

DPI = 110
CELL = 2.7  # inches: the longer side of the image in a cell
LEAST = 0.9  # inches: the shorter side of a cell, so that its label fits
TITLE, BAR, LINE = 0.27, 1.0, 0.17  # inches; of the bar: with its numbers and its title
BOXES = colormaps["tab10"].colors  # type: ignore[attr-defined]

LEAST_STRIDE = 32  # sides of an image are multiples of it, whatever the model


@dataclass(frozen=True, eq=False)
class FusionMap:
    """The weights of one fusion for one image.

    Attributes:
        row: The fusion's row in the model YAML.
        strides: Of the N source levels, finest first.
        target: Position among the sources of the level that comes out.
        weights: (N, H, W) at the target's size, padding included; they sum to 1 over N.
        fit: Where the image lies under them, in pixels of the model's input.
    """

    row: int
    strides: tuple[int, ...]
    target: int
    weights: Floats
    fit: Fit

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the source levels: `P3` for stride 8; `stride 12` where none has that stride."""
        coarseness = [(stride.bit_length() - 1, stride) for stride in self.strides]
        return tuple(f"P{i}" if s == 2**i else f"stride {s}" for i, s in coarseness)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top of the maps in pixels of the original, for `imshow`.

        They reach beyond the image where there was padding.
        """
        (height, width), (top, bottom, left, right) = self.fit.scaled, self.fit.padding
        down, across = (a / b for a, b in zip(self.fit.image, self.fit.scaled, strict=True))
        return -left * across, (width + right) * across, (height + bottom) * down, -top * down

    def means(self) -> Floats:
        """(N,) mean weight of each source over the image, without the padding."""
        (height, width), (top, _, left, _) = self.fit.scaled, self.fit.padding
        stride = self.strides[self.target]
        rows, columns = self.weights.shape[1:]
        # A cell at the edge counts by the part of it that lies over the image.
        across = np.diff(np.clip(np.arange(columns + 1) * stride, left, left + width))
        down = np.diff(np.clip(np.arange(rows + 1) * stride, top, top + height))
        area = np.outer(down, across) / (down.sum() * across.sum())
        return (self.weights * area).sum((1, 2)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class FusionView:
    """An image (H, W, 3), blue first, with the weights of a model's fusions, in order of the rows.

    `boxes` (N, 6): left, top, right, bottom in pixels of the image, score, class in `names`.
    """

    image: Image
    maps: list[FusionMap]
    boxes: Floats
    names: dict[int, str]


def fusion_maps(
    model: str | Path | nn.Module, image: str | Path | Image, imgsz: int | None = None
) -> list[FusionMap]:
    """Run a model on an image and give the weight maps of all its fusions, in the order of rows.

    Args:
        model: A `.pt`, a `YOLO`, or a network of Ultralytics'. It is left as it was.
        image: A file, or (H, W, 3), blue first, as OpenCV reads it.
        imgsz: What the longer side is resized to; None: what the model was trained at.

    Raises:
        OSError: When a file can't be read.
        ValueError: When a file isn't what it should be, or no fusion has weights.
    """
    return look(model, image, imgsz).maps


def look(
    model: str | Path | nn.Module, image: str | Path | Image, imgsz: int | None = None
) -> FusionView:
    """As `fusion_maps`, with the image, the boxes and the names of the classes."""
    network = deepcopy(open_fusions(model)).eval()  # its own hooks, and its own mode
    pixels = read(Path(image)) if isinstance(image, (str, Path)) else image
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"an image must be uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
    # As Ultralytics' predict: the neck may read coarser levels than the head, whose stride this is.
    stride = max(int(max(network.stride)), LEAST_STRIDE)
    size = imgsz or trained_size(network)
    side = math.ceil(size / stride) * stride
    fitted = fit(pixels.shape[:2], (side, side), stride)
    shown: Any = pixels
    if (channels := image_channels(network)) == 1:
        shown = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    batch = np.empty((1, 3, *fitted.size), np.float32)
    fill(batch[0], shown, fitted)
    calls: dict[nn.Module, Any] = {}

    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        calls[module] = args[0], output

    fusions = weighted_fusions(network)
    for module in (*fusions, *fusions.values()):
        module.register_forward_hook(keep)
    weight = next(network.parameters())
    with torch.no_grad():
        output = network(torch.from_numpy(batch[:, :channels]).to(weight.device, weight.dtype))
        boxes = detections(network, output)
    boxes[:, :4] = restore(boxes[:, :4], fitted)
    maps = []
    for fusion, predictor in fusions.items():
        shares = calls[predictor][1][0].float().cpu().numpy()  # (N, H, W)
        if len(shares) == 1:  # of a fused model; of two levels only the second's is there
            shares = np.concatenate([1 - shares, shares])
        strides = tuple(round(fitted.size[0] / x.shape[2]) for x in calls[fusion][0])
        row: Any = fusion.i  # what Ultralytics' parser attaches
        maps.append(FusionMap(row, strides, fusion.target, shares, fitted))
    return FusionView(pixels, maps, boxes, dict(network.names))


def open_fusions(model: str | Path | nn.Module) -> Any:
    """Open a model as `load_model` does.

    Raises:
        ValueError: When no fusion has weights, or it takes images of other channels than files do.
    """
    network = load_model(model)
    name = model if isinstance(model, (str, Path)) else type(network).__name__
    if not weighted_fusions(network):
        raise ValueError(
            f"{name}: it has no AFPNFusion row, and only such rows have weights; "
            "yolov5n-afpn.yaml is a model that has them"
        )
    if (channels := image_channels(network)) not in (1, 3):
        raise ValueError(f"{name} takes images of {channels} channels; 3 or 1 are read")
    return network


def weighted_fusions(model: nn.Module) -> dict[LevelFusion, FusionWeights]:
    """The fusions of a model that predict weights, in the order of the rows."""
    return {
        fusion: child
        for fusion in model.modules()
        if isinstance(fusion, LevelFusion)
        for child in fusion.children()
        if isinstance(child, FusionWeights)
    }


def draw(view: FusionView, title: str, colours: tuple[float, float] | None = None) -> Figure:
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


def _draw_map(axes: Axes, item: FusionMap, source: int, span: tuple[float, float]) -> AxesImage:
    text = f"{item.levels[source]}  {item.means()[source]:.2f}"
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none"}
    place: Any = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    axes.annotate(text, (0, 1), (4, -4), fontsize=9, bbox=box, **place)
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
    handles = [
        Patch(color=colours[label], label=f"{count} {view.names[label]}")
        for label, count in counts[:room]
    ]
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "handlelength": 1}
    beside.legend(handles=handles, loc="upper left", **style).set_in_layout(False)
