"""Boxes with labels on a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from afpn_yolo.edge.images import Image, as_bgr

Colour = tuple[int, int, int]  # BGR

# Apart from each other, and from skin, foliage and sky.
COLOURS: tuple[Colour, ...] = (
    *((56, 56, 255), (255, 144, 30), (40, 180, 60), (0, 200, 255), (211, 0, 148)),
    *((208, 200, 0), (0, 110, 255), (180, 60, 90), (190, 130, 255), (0, 130, 110)),
)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_boxes(
    image: Image, corners: NDArray[np.float32], labels: Sequence[str], classes: Sequence[int]
) -> Image:
    """Return a colour copy with boxes (N, 4, 2); every class has a colour, every box its label."""
    picture = np.ascontiguousarray(as_bgr(image, "image")).copy()
    width = max(round(sum(picture.shape[:2]) / 2 * 0.003), 1)
    rows = list(zip(np.rint(corners).astype(np.int32), labels, classes, strict=True))
    for box, _, number in rows[::-1]:
        cv2.polylines(picture, [box], True, _colour(number), width, cv2.LINE_AA)
    for box, label, number in rows[::-1]:  # over all boxes, the best score on top
        left, top = box.min(0).tolist()
        _write(picture, left, top, label, _colour(number), width)
    return picture


def _colour(number: int) -> Colour:
    return COLOURS[number % len(COLOURS)]


def _write(picture: Image, left: int, top: int, text: str, colour: Colour, width: int) -> None:
    """Write a label above a box's corner, inside the picture as far as it fits."""
    scale, thickness = max(width / 4, 0.4), max(width // 2, 1)
    (wide, tall), below = cv2.getTextSize(text, FONT, scale, thickness)
    height = tall + below + 2
    x = max(min(left, picture.shape[1] - wide - 2), 0)
    y = max(top - height, 0)
    cv2.rectangle(picture, (x, y), (x + wide + 2, y + height), colour, cv2.FILLED)
    light = colour[0] * 0.114 + colour[1] * 0.587 + colour[2] * 0.299
    ink = (0, 0, 0) if light > 140 else (255, 255, 255)
    at = (x + 1, y + tall + 1)
    cv2.putText(picture, text, at, FONT, scale, ink, thickness, cv2.LINE_AA)
