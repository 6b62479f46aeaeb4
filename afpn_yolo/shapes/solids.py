"""The solids: their form and paint, and how one of them is drawn by marching rays to its surface.

A solid stands on the ground y = 0 over the origin, about two units high: x right, y up, z forward.
Screen coordinates have the same unit and their origin at the solid's foot, x right and y up. Arrays
are float32, colours BGR in 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

REACH = 3.6  # half side, in world units, of the ground square that a shadow may fall on


def _ball(x: Array, y: Array, z: Array, ratio: float) -> Array:
    gap: Array = np.sqrt(x * x + (y - 1) ** 2 + z * z) - 1
    return gap


def _cuboid(x: Array, y: Array, z: Array, half: tuple[float, float, float]) -> Array:
    """Distance to a slightly rounded cuboid that stands on the ground."""
    sides = np.stack([abs(x) - half[0], abs(y - half[1]) - half[1], abs(z) - half[2]]) + 0.05
    gap: Array = np.sqrt((np.maximum(sides, 0) ** 2).sum(0)) + np.minimum(sides.max(0), 0) - 0.05
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
    around = np.sqrt(x * x + z * z) - np.float32(0.85)
    gap: Array = np.sqrt(around * around + (y - tube) ** 2) - tube
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
    return np.where(y < 0.17, -0.3, bands).astype(np.float32)


def _ring_paint(x: Array, y: Array, z: Array, ratio: float) -> Array:
    return (np.sin(4 * np.arctan2(z, x)) > 0.3).astype(np.float32)


class Solid(NamedTuple):
    """One class of the data set. Its functions take x, y, z, and what varies the form, 0..1."""

    distance: Callable[..., Array]  # to the surface, negative inside
    paint: Callable[..., Array]  # second colour's share, 0..1; below 0 it darkens the first
    gloss: float  # strength of the highlight, 0..1


SOLIDS = {
    "ball": Solid(_ball, _ball_paint, 0.7),
    "box": Solid(_box, _box_paint, 0.05),
    "cone": Solid(_cone, _cone_paint, 0.2),
    "ring": Solid(_ring, _ring_paint, 0.45),
}


class View(NamedTuple):
    """How one solid is seen; angles in radians."""

    name: str  # key of `SOLIDS`
    ratio: float  # variation of the form, 0..1
    yaw: float  # turn of the solid about the vertical
    tilt: float  # height of the camera over the ground plane

    def turn(self, vector: Array) -> Array:
        """World vectors `(3, ...)` in the solid's own axes."""
        # Rounding hides last-bit differences between maths libraries: labels must never vary.
        c, s = round(math.cos(self.yaw), 6), round(math.sin(self.yaw), 6)
        x, y, z = vector
        return np.stack([c * x + s * z, y, c * z - s * x]).astype(np.float32)

    def distance(self, points: Array) -> Array:
        """Distance of points `(3, ...)`, in the solid's axes, to the surface."""
        return SOLIDS[self.name].distance(*points, self.ratio)

    def camera(self) -> Array:
        """Unit vectors right, up and towards the camera, `(3, 3)`, in the solid's axes."""
        s, c = round(math.sin(self.tilt), 6), round(math.cos(self.tilt), 6)
        return self.turn(np.array([[1, 0, 0], [0, c, s], [0, -s, c]], np.float32)).T


def trace(view: View, xs: Array, ys: Array) -> tuple[Mask, Array]:
    """March parallel rays to the surface, one for each pair of screen `xs` (w,) and `ys` (h,).

    Returns:
        The silhouette (h, w) and its n pixels' surface points (3, n), in the solid's axes.
    """
    right, up, sight = view.camera()[:, :, None, None]
    points = (right * xs + up * ys[:, None] + 3 * sight).reshape(3, -1)
    live = np.ones(points.shape[1], bool)
    for steps in (4, 11):  # after the first steps, only the rays that are near the solid go on
        ray = points[:, live]
        for _ in range(steps):
            gap = view.distance(ray)
            ray -= gap * sight[:, 0]
        points[:, live] = ray
        live[live] = gap < (1 if steps == 4 else 0.006)
    return live.reshape(len(ys), len(xs)), points[:, live]


def paint(view: View, points: Array, colours: Array, light: Array, ground: Array) -> Array:
    """Colours (n, 3), not yet clipped, of the surface points (3, n) that `trace` found.

    `colours` are the main and the second one (2, 3); `light` is the unit vector to it in world
    axes; `ground` is the ground's mean colour, which shines back from below.
    """
    solid, step = SOLIDS[view.name], np.float32(0.015) * np.eye(3, dtype=np.float32)[:, :, None]
    here = view.distance(points)
    normal = np.stack([view.distance(points + d) - here for d in step])
    normal /= np.sqrt((normal**2).sum(0)) + np.float32(1e-6)
    share = solid.paint(*points, view.ratio)[:, None]
    albedo = colours[0] * (1 + np.minimum(share, 0))
    albedo = albedo + np.maximum(share, 0) * (colours[1] - colours[0])
    sun, sight = view.turn(light), view.camera()[2]
    half = (sun + sight) / np.linalg.norm(sun + sight)
    lit = np.maximum(sun @ normal, 0)[:, None]
    sky = (0.5 + 0.5 * normal[1])[:, None]
    open_sky = sky * np.clip(0.55 + 0.9 * points[1], 0, 1)[:, None]  # less of it near the ground
    ambient = open_sky * np.array([0.56, 0.52, 0.49], np.float32) + 0.45 * (1 - sky) * ground
    shine = solid.gloss * np.maximum(half @ normal, 0)[:, None] ** 40
    colour: Array = albedo * (ambient + lit * np.array([0.66, 0.71, 0.75], np.float32)) + shine
    return colour


def shadow(view: View, light: Array, cells: int = 36) -> Array:
    """Light that reaches the ground, 0..1, over the square within `REACH`; far row first."""
    axis = np.linspace(-REACH, REACH, cells, dtype=np.float32)
    x, z = np.meshgrid(axis, axis)
    foot, sun = view.turn(np.stack([x, 0 * x, z])), view.turn(light)[:, None, None]
    near = np.clip(view.distance(foot) / 0.4, 0, 1)
    way, free = np.full_like(x, 0.06), np.ones_like(x)
    for _ in range(12):
        gap = view.distance(foot + way * sun)
        free = np.minimum(free, 5 * gap / way)  # rays that pass close are in the half shadow
        way += np.clip(gap, 0.08, 0.9)
    reaches: Array = (0.42 + 0.58 * np.clip(free, 0, 1)) * (0.6 + 0.4 * near)
    return reaches
