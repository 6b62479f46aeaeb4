"""How much each level counts, and where: the weight maps of a model's fusions for one image."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from afpn_yolo.base.checks import check_int
from afpn_yolo.base.yaml_rows import image_channels
from afpn_yolo.edge.images import read
from afpn_yolo.edge.letterbox import Fit, fill, fit, restore
from afpn_yolo.layers import FusionWeights, LevelFusion
from afpn_yolo.upstream.models import load_model, trained_size
from afpn_yolo.upstream.validator import detections

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

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
    fusions = weighted_fusions(network)
    pixels = read(Path(image)) if isinstance(image, (str, Path)) else image
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"an image must be uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
    # As Ultralytics' predict: the neck may read coarser levels than the head, whose stride this is.
    stride = max(int(max(network.stride)), LEAST_STRIDE)
    size = trained_size(network) if imgsz is None else imgsz
    check_int("fusion maps", "imgsz", size, 1)
    side = math.ceil(size / stride) * stride
    fitted = fit(pixels.shape[:2], (side, side), stride)
    seen = np.empty((1, 3, *fitted.size), np.float32)
    if (channels := image_channels(network)) == 1:
        grey: Any = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        fill(seen[0], np.repeat(grey[..., None], 3, axis=2), fitted)
    else:
        fill(seen[0], pixels, fitted)
    weight = next(network.parameters())
    heights: dict[nn.Module, list[int]] = {}
    weights: dict[nn.Module, Floats] = {}
    for fusion, predictor in fusions.items():
        fusion.register_forward_hook(
            lambda module, args, output: heights.update({module: [x.shape[2] for x in args[0]]})
        )
        predictor.register_forward_hook(
            lambda module, args, output: weights.update({module: output[0].float().cpu().numpy()})
        )
    with torch.no_grad():
        output = network(torch.from_numpy(seen[:, :channels]).to(weight.device, weight.dtype))
        boxes = detections(network, output)
    boxes[:, :4] = restore(boxes[:, :4], fitted)
    maps = []
    for fusion, predictor in fusions.items():
        shares = weights[predictor]  # (N, H, W)
        if len(shares) == 1:  # of a fused model; of two levels only the second's is there
            shares = np.concatenate([1 - shares, shares])
        strides = tuple(round(fitted.size[0] / height) for height in heights[fusion])
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
