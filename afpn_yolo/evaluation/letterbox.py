"""How Ultralytics' validator shows images to a model: batched by shape, resized, padded with grey.

The padding moves a small model's AP by a whole point, so it is done exactly as there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GREY = 114
PAD = 0.5  # of a stride; the validator's constant

Pixels = NDArray[np.uint8]
Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Batch:
    """Positions of the images of one batch, and the height and width that all are padded to."""

    positions: list[int]
    shape: Size


def square_batches(count: int, batch: int, shape: Size) -> list[Batch]:
    """Images in their order, all padded to one shape."""
    return [
        Batch(list(range(start, min(start + batch, count))), shape)
        for start in range(0, count, batch)
    ]


def rectangular_batches(sizes: list[Size], batch: int, imgsz: int, stride: int) -> list[Batch]:
    """Images in the order of their height / width, each batch padded to the shape it needs.

    Args:
        sizes: Of the N original images.
        batch: Images a batch.
        imgsz: What the longer side is resized to, before padding.
        stride: Every shape is a multiple of it.
    """
    ratios = np.array([height / width for height, width in sizes])
    order = ratios.argsort(kind="stable")
    batches = []
    for start in range(0, len(order), batch):
        positions = order[start : start + batch]
        low, high = ratios[positions].min(), ratios[positions].max()
        needed = (high, 1) if high < 1 else (1, 1 / low) if low > 1 else (1, 1)
        height, width = (math.ceil(x * imgsz / stride + PAD) * stride for x in needed)
        batches.append(Batch(positions.tolist(), (height, width)))
    return batches


@dataclass(frozen=True)
class Placed:
    """An image as the model sees it, (height, width, channels), and how it got there."""

    pixels: Pixels
    gain: tuple[float, float]
    left: int
    top: int
    original: Size

    def to_original(self, boxes: NDArray[np.float64], clip: bool = False) -> NDArray[np.float64]:
        """(N, 4) left, top, right, bottom as seen -> in pixels of the original; `clip`, to it."""
        height, width = self.original
        offset = np.array([self.left, self.top] * 2)
        moved = (boxes - offset) / np.array([*self.gain, *self.gain])
        return moved.clip(0, [width, height] * 2) if clip else moved


def place(image: Pixels, imgsz: Size, shape: Size) -> Placed:
    """Resize an image into `imgsz`, ratio kept, and centre it on grey of `shape`."""
    height, width = image.shape[:2]
    scale = min(imgsz[0] / height, imgsz[1] / width)
    # The validator rounds up, too; each side then has a gain of its own.
    new_h, new_w = min(math.ceil(height * scale), imgsz[0]), min(math.ceil(width * scale), imgsz[1])
    if (new_h, new_w) != (height, width):
        resized = np.asarray(cv2.resize(image, (new_w, new_h)), np.uint8)
        image = resized.reshape(new_h, new_w, -1)  # OpenCV drops a single channel
    top, left = round((shape[0] - new_h) / 2 - 0.1), round((shape[1] - new_w) / 2 - 0.1)
    pixels = np.full((*shape, image.shape[2]), GREY, np.uint8)
    pixels[top : top + new_h, left : left + new_w] = image
    return Placed(pixels, (new_w / width, new_h / height), left, top, (height, width))
