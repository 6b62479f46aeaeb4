"""Which boxes of a segmentation model have a mask: Ultralytics' predict leaves out the others."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from afpn_yolo.edge.letterbox import Size

Floats = NDArray[np.float32]


def have_masks(
    prototypes: Floats, coefficients: Floats, boxes: Floats, size: Size
) -> NDArray[np.bool_]:
    """Whether the mask of a box, drawn up to the input's size, has a pixel within it.

    Args:
        prototypes: (C, h, w), of which masks are sums.
        coefficients: (N, C), the share of each.
        boxes: (N, 4) left, top, right, bottom in pixels of the input.
        size: Height and width of the input, whole multiples of h and w.
    """
    factor = size[0] // prototypes.shape[1]
    found = np.zeros(len(boxes), bool)
    for i, (box, shares) in enumerate(zip(boxes.tolist(), coefficients, strict=True)):
        # Pixels of the input, and the cells that they are interpolated from: one more on each side.
        columns = _inside(box[0], box[2], size[1])
        rows = _inside(box[1], box[3], size[0])
        if not columns or not rows:
            continue
        (top, down), (left, right) = _cells(rows, factor), _cells(columns, factor)
        part = np.tensordot(shares, prototypes[:, top:down, left:right], 1)
        drawn = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        y, x = rows.start - top * factor, columns.start - left * factor
        found[i] = bool((drawn[y : y + len(rows), x : x + len(columns)] > 0).any())
    return found


def _inside(low: float, high: float, most: int) -> range:
    """The pixels that a box covers along one side."""
    return range(max(math.ceil(low), 0), min(math.ceil(high), most))


def _cells(pixels: range, factor: int) -> tuple[int, int]:
    """First cell, and the one behind the last; slices end where the cells do."""
    return max(pixels.start // factor - 1, 0), pixels[-1] // factor + 2
