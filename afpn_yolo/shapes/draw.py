"""Renderer of one solid: where it is seen, its colours, and its shadow.

World axes: x right, y up, z towards the viewer; the ground is y = 0 and one solid stands over the
origin, about two units high. Screen coordinates are world units too, x right and y up, with the
origin at the solid's foot. Colours are BGR in 0..1, as float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from afpn_yolo.shapes.solids import SOLIDS, Array

Mask = NDArray[np.bool_]

REACH = 3.6  # half side, in world units, of the ground square searched for a solid's shadow


@dataclass(frozen=True)
class View:
    """How one solid is seen.

    Attributes:
        solid: Key of `SOLIDS`.
        ratio: Variation of the form, 0..1.
        yaw: Turn of the solid about the vertical, radians.
        tilt: Height of the camera over the ground plane, radians.
    """

    solid: str
    ratio: float
    yaw: float
    tilt: float

    def to_solid(self, x: Array, y: Array, z: Array) -> Array:
        """Turn world vectors into the solid's own axes; the result stacks x, y, z first."""
        # Rounding hides last-bit differences between maths libraries: labels must never vary.
        c, s = round(math.cos(self.yaw), 6), round(math.sin(self.yaw), 6)
        return np.stack([c * x + s * z, y + 0 * x, c * z - s * x]).astype(np.float32)

    def distance(self, points: Array) -> Array:
        """Distance of points `(3, ...)`, in the solid's axes, to the surface."""
        return SOLIDS[self.solid].distance(points[0], points[1], points[2], self.ratio)

    def sight(self) -> Array:
        """Unit vector from the solid to the camera in the solid's axes, shape `(3,)`."""
        s, c = round(math.sin(self.tilt), 6), round(math.cos(self.tilt), 6)
        return self.to_solid(np.float32(0), np.float32(s), np.float32(c))


def _march(view: View, points: Array, sight: Array, steps: int) -> Array:
    """Move points `(3, n)` along the line of sight, in place; return their last gap, `(n,)`."""
    for _ in range(steps):
        gap = view.distance(points)
        points -= gap * sight
    return gap


def trace(view: View, xs: Array, ys: Array) -> tuple[Mask, Array]:
    """March parallel rays to the surface.

    Args:
        view: The solid and its pose.
        xs: Screen x of the grid's columns, shape `(w,)`.
        ys: Screen y of the grid's rows, shape `(h,)`.

    Returns:
        The silhouette `(h, w)` and its n pixels' surface points `(3, n)`, in the solid's axes.
    """
    s, c = round(math.sin(view.tilt), 6), round(math.cos(view.tilt), 6)
    x, y = np.meshgrid(xs, ys)
    sight = view.sight()[:, None]
    points = view.to_solid(x, c * y, -s * y).reshape(3, -1) + 3 * sight
    gap = _march(view, points, sight, 4)
    live = (gap > 0.003) & (gap < 1)  # the others have arrived or are past the solid
    ray = points[:, live]
    gap[live] = _march(view, ray, sight, 11)
    points[:, live] = ray
    hit = gap < 0.006
    return hit.reshape(x.shape), points[:, hit]


def paint(view: View, points: Array, colours: Array, light: Array, ground: Array) -> Array:
    """Colour surface points.

    Args:
        view: The solid and its pose.
        points: Surface points `(3, n)` from `trace`.
        colours: Main and second colour, `(2, 3)`.
        light: Unit vector to the light in world axes, `(3,)`.
        ground: Mean colour of the ground, which shines back from below, `(3,)`.

    Returns:
        Colours `(n, 3)`, not yet clipped.
    """
    solid, step = SOLIDS[view.solid], np.float32(0.015) * np.eye(3, dtype=np.float32)[:, :, None]
    here = view.distance(points)
    normal = np.stack([view.distance(points + d) - here for d in step])
    normal /= np.sqrt((normal**2).sum(0)) + np.float32(1e-6)
    share = solid.paint(points[0], points[1], points[2], view.ratio)[:, None]
    albedo = colours[0] * (1 + np.minimum(share, 0)) + np.maximum(share, 0) * (
        colours[1] - colours[0]
    )
    sun = view.to_solid(light[0], light[1], light[2])
    half = (sun + view.sight()) / np.linalg.norm(sun + view.sight())
    lit = np.maximum(sun @ normal, 0)[:, None]
    sky = (0.5 + 0.5 * normal[1])[:, None]
    corner = np.clip(0.55 + 0.9 * points[1], 0, 1)[
        :, None
    ]  # less sky reaches what is near the ground
    ambient = corner * sky * np.array([0.56, 0.52, 0.49], np.float32) + 0.45 * (1 - sky) * ground
    shine = solid.gloss * np.maximum(half @ normal, 0)[:, None] ** 40
    colour: Array = albedo * (ambient + lit * np.array([0.66, 0.71, 0.75], np.float32)) + shine
    return colour


def shadow(view: View, light: Array, cells: int = 36) -> Array:
    """Light that reaches the ground, 0..1, over the square within `REACH`; far row first."""
    axis = np.linspace(-REACH, REACH, cells, dtype=np.float32)
    x, z = np.meshgrid(axis, axis)
    foot, sun = view.to_solid(x, 0 * x, z), view.to_solid(light[0], light[1], light[2])
    near = np.clip(view.distance(foot) / 0.4, 0, 1)
    way, free = np.full_like(x, 0.06), np.ones_like(x)
    for _ in range(12):
        gap = view.distance(foot + way * sun[:, None, None])
        free = np.minimum(free, 5 * gap / way)  # rays that pass close are in the half shadow
        way += np.clip(gap, 0.08, 0.9)
    light_left: Array = (0.42 + 0.58 * np.clip(free, 0, 1)) * (0.6 + 0.4 * near)
    return light_left
