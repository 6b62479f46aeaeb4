"""The solids of the generated shapes: form, paint and gloss.

A solid stands on the ground y = 0 over the origin, about two units high: x right, y up, z forward.
Arrays are float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Distance = Callable[[Array, Array, Array, float], Array]


def _ball(x: Array, y: Array, z: Array, ratio: float) -> Array:
    gap: Array = np.sqrt(x * x + (y - 1) ** 2 + z * z) - 1
    return gap


def _cuboid(x: Array, y: Array, z: Array, half: tuple[float, float, float]) -> Array:
    """Distance to a slightly rounded cuboid that stands on the ground."""
    dx, dy, dz = abs(x) - half[0] + 0.05, abs(y - half[1]) - half[1] + 0.05, abs(z) - half[2] + 0.05
    outside = np.maximum(dx, 0) ** 2 + np.maximum(dy, 0) ** 2 + np.maximum(dz, 0) ** 2
    inside = np.minimum(np.maximum(np.maximum(dx, dy), dz), 0)
    gap: Array = np.sqrt(outside) + inside - 0.05
    return gap


def _box(x: Array, y: Array, z: Array, ratio: float) -> Array:
    return _cuboid(x, y, z, (0.95, 0.65 + 0.3 * ratio, 0.95 - 0.2 * ratio))


def _cone(x: Array, y: Array, z: Array, ratio: float) -> Array:
    """Distance to a blunt cone on a square foot plate."""
    side = 0.94 * (np.sqrt(x * x + z * z) - (0.74 - 0.3 * y))
    body = np.maximum(np.maximum(side, y - 1.9 - 0.2 * ratio), -y)
    gap: Array = np.minimum(body, _cuboid(x, y, z, (0.92, 0.08, 0.92)))
    return gap


def _ring(x: Array, y: Array, z: Array, ratio: float) -> Array:
    tube = 0.27 + 0.08 * ratio
    around: Array = np.sqrt(x * x + z * z) - np.float32(0.85)
    gap: Array = np.sqrt(around * around + (y - tube) * (y - tube)) - tube
    return gap


def _ball_paint(x: Array, y: Array, z: Array, ratio: float) -> Array:
    turn = math.pi * ratio
    return (abs(x * math.cos(turn) + (y - 1) * math.sin(turn)) < 0.27).astype(np.float32)


def _box_paint(x: Array, y: Array, z: Array, ratio: float) -> Array:
    """Boards with dark joints inside a frame that runs along the edges."""
    height = 0.65 + 0.3 * ratio
    near = np.sort(np.stack([abs(x) / 0.95, abs(y / height - 1), abs(z) / (0.95 - 0.2 * ratio)]), 0)
    joint = np.where((y / height * 2.5) % 1 < 0.12, -0.5, 0.0)
    frame = np.where(near[1] > 0.76, 0.75, np.where(near[1] > 0.71, -0.5, joint))
    return frame.astype(np.float32)


def _cone_paint(x: Array, y: Array, z: Array, ratio: float) -> Array:
    bands = ((y > 0.65) & (y < 1.0)) | ((y > 1.35) & (y < 1.65))
    shares: Array = np.where(y < 0.17, -0.3, bands).astype(np.float32)
    return shares


def _ring_paint(x: Array, y: Array, z: Array, ratio: float) -> Array:
    shares: Array = (np.sin(4 * np.arctan2(z, x)) > 0.3).astype(np.float32)
    return shares


@dataclass(frozen=True)
class Solid:
    """One class of the data set.

    Attributes:
        distance: Distance to the surface, negative inside; its last argument, 0..1, varies form.
        paint: Second colour's share, 0..1, at surface points; below 0 it darkens the first colour.
        gloss: Strength of the highlight, 0..1.
    """

    distance: Distance
    paint: Distance
    gloss: float


SOLIDS = {
    "ball": Solid(_ball, _ball_paint, 0.7),
    "box": Solid(_box, _box_paint, 0.05),
    "cone": Solid(_cone, _cone_paint, 0.2),
    "ring": Solid(_ring, _ring_paint, 0.45),
}
