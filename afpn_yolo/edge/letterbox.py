"""Fit an image into the network's input, and bring boxes back.

The arithmetic is Ultralytics' (`LetterBox`, `scale_boxes`, `clip_boxes`), rounding included: half a
pixel more or less in the padding moves boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from afpn_yolo.edge.images import Image

GREY = (114, 114, 114)
Size = tuple[int, int]  # height, width
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Fit:
    """Where an image lies in the network's input; (height, width), pixels."""

    image: Size
    scaled: Size
    padding: tuple[int, int, int, int]  # top, bottom, left, right

    @property
    def size(self) -> Size:
        """The input's size."""
        top, bottom, left, right = self.padding
        return self.scaled[0] + top + bottom, self.scaled[1] + left + right


def fit(image: Size, size: Size, stride: int | None) -> Fit:
    """Scale an image to fit `size`, its aspect ratio kept, and centre it.

    Args:
        image: Its (height, width).
        size: The network's (height, width).
        stride: For a model that takes any size: pad to multiples of it, not to the whole size.
    """
    ratio = min(size[0] / image[0], size[1] / image[1])
    scaled = (max(round(image[0] * ratio), 1), max(round(image[1] * ratio), 1))
    height, width = size[0] - scaled[0], size[1] - scaled[1]
    if stride:
        height, width = height % stride, width % stride
    return Fit(image, scaled, (*_halves(height), *_halves(width)))


def _halves(padding: int) -> tuple[int, int]:
    return round(padding / 2 - 0.1), round(padding / 2 + 0.1)


def fill(target: NDArray[Any], image: Image, fitted: Fit) -> None:
    """Write an image into the network's input (3, H, W): RGB, 0 to 1, padded with grey."""
    height, width = fitted.scaled
    scaled = image if fitted.image == fitted.scaled else cv2.resize(image, (width, height))
    padded = cv2.copyMakeBorder(scaled, *fitted.padding, cv2.BORDER_CONSTANT, value=GREY)
    planes = padded[..., ::-1].transpose(2, 0, 1)
    np.divide(planes, np.float32(255), out=target, casting="same_kind")


def restore(boxes: Floats, fitted: Fit) -> Floats:
    """Bring boxes (N, 4), corners in pixels of the input, to pixels of the image; clipped to it."""
    offset, gain = _place(fitted)
    moved = (boxes - np.tile(offset, 2)) / np.tile(gain, 2)
    return np.asarray(np.clip(moved, 0, fitted.image[::-1] * 2), np.float32)


def restore_rotated(boxes: Floats, fitted: Fit) -> Floats:
    """The same for rotated boxes (N, 5): centre, width, height, angle. They are not clipped."""
    offset, gain = _place(fitted)
    centres, sides = (boxes[:, :2] - offset) / gain, boxes[:, 2:4] / gain
    return np.hstack((centres, sides, boxes[:, 4:]))


def _place(fitted: Fit) -> tuple[Floats, Floats]:
    """Left and top of the image in the input, and the factors by which x and y were scaled."""
    # Scale and padding once more from the two sizes, as Ultralytics does. Where rounding made a
    # padded side smaller than the scaled image wants, they differ a little from the fit's own.
    again = fit(fitted.image, fitted.size, None)
    top, _, left, _ = again.padding
    gain = np.divide(again.scaled[::-1], again.image[::-1], dtype=np.float32)
    return np.array([left, top], np.float32), gain
