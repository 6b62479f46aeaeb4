"""Renderer of the generated shapes data set: small solids on a textured ground.

World axes: x right, y up, z towards the viewer; the ground is y = 0 and one solid stands over the
origin, about two units high. Screen coordinates are world units too, x right and y up, with the
origin at the solid's foot. Colours are BGR in 0..1, as float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Distance = Callable[[Array, Array, Array, float], Array]

REACH = 4.0  # half side, in world units, of the ground square searched for a solid's shadow


def _ball(x: Array, y: Array, z: Array, ratio: float) -> Array:
    return np.sqrt(x * x + (y - 1) ** 2 + z * z) - 1


def _cuboid(x: Array, y: Array, z: Array, half: tuple[float, float, float]) -> Array:
    """Distance to a slightly rounded cuboid that stands on the ground."""
    dx, dy, dz = abs(x) - half[0] + 0.05, abs(y - half[1]) - half[1] + 0.05, abs(z) - half[2] + 0.05
    outside = np.maximum(dx, 0) ** 2 + np.maximum(dy, 0) ** 2 + np.maximum(dz, 0) ** 2
    return np.sqrt(outside) + np.minimum(np.maximum(np.maximum(dx, dy), dz), 0) - 0.05


def _box(x: Array, y: Array, z: Array, ratio: float) -> Array:
    return _cuboid(x, y, z, (0.95, 0.65 + 0.3 * ratio, 0.95 - 0.2 * ratio))


def _cone(x: Array, y: Array, z: Array, ratio: float) -> Array:
    """Distance to a blunt cone on a square foot plate."""
    side = 0.94 * (np.sqrt(x * x + z * z) - (0.74 - 0.3 * y))
    return np.minimum(np.maximum(side, y - 2.0 - 0.2 * ratio), _cuboid(x, y, z, (0.95, 0.09, 0.95)))


def _ring(x: Array, y: Array, z: Array, ratio: float) -> Array:
    tube = 0.27 + 0.08 * ratio
    return np.sqrt((np.sqrt(x * x + z * z) - 0.85) ** 2 + (y - tube) ** 2) - tube


def _ball_paint(x: Array, y: Array, z: Array, ratio: float) -> Array:
    turn = math.pi * ratio
    return 1.0 * (abs(x * math.cos(turn) + (y - 1) * math.sin(turn)) < 0.27)


def _box_paint(x: Array, y: Array, z: Array, ratio: float) -> Array:
    """Boards with dark joints inside a frame that runs along the edges."""
    height = 0.65 + 0.3 * ratio
    near = np.sort(np.stack([abs(x) / 0.95, abs(y / height - 1), abs(z) / (0.95 - 0.2 * ratio)]), 0)
    joint = np.where((y / height * 2.5) % 1 < 0.12, -0.5, 0.0)
    return np.where(near[1] > 0.76, 0.75, np.where(near[1] > 0.71, -0.5, joint))


def _cone_paint(x: Array, y: Array, z: Array, ratio: float) -> Array:
    bands = ((y > 0.65) & (y < 1.0)) | ((y > 1.35) & (y < 1.65))
    return np.where(y < 0.19, -0.45, 1.0 * bands)


def _ring_paint(x: Array, y: Array, z: Array, ratio: float) -> Array:
    return 1.0 * (np.sin(4 * np.arctan2(z, x)) > 0.3)


@dataclass(frozen=True)
class Solid:
    """One class of the data set.

    Attributes:
        distance: Distance to the surface, negative inside; its last argument, 0..1, varies the form.
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
        # Rounding hides the last-bit differences between maths libraries, so that labels never vary.
        c, s = round(math.cos(self.yaw), 6), round(math.sin(self.yaw), 6)
        return np.stack([c * x + s * z, y + 0 * x, c * z - s * x]).astype(np.float32)

    def distance(self, points: Array) -> Array:
        """Distance of points `(3, ...)`, in the solid's axes, to the surface."""
        return SOLIDS[self.solid].distance(points[0], points[1], points[2], self.ratio)

    def sight(self) -> Array:
        """Unit vector from the solid to the camera in the solid's axes, shape `(3,)`."""
        s, c = round(math.sin(self.tilt), 6), round(math.cos(self.tilt), 6)
        return self.to_solid(np.float32(0), np.float32(s), np.float32(c))  # type: ignore[arg-type]


def trace(view: View, xs: Array, ys: Array) -> tuple[Mask, Array]:
    """March parallel rays to the surface.

    Args:
        view: The solid and its pose.
        xs: Screen x of the grid's columns, shape `(w,)`.
        ys: Screen y of the grid's rows, shape `(h,)`.

    Returns:
        The silhouette `(h, w)` and the surface points `(3, n)` of its n pixels, in the solid's axes.
    """
    s, c = round(math.sin(view.tilt), 6), round(math.cos(view.tilt), 6)
    x, y = np.meshgrid(xs, ys)
    sight = view.sight()[:, None, None]
    points = view.to_solid(x, c * y, -s * y) + 3 * sight
    for _ in range(18):
        gap = view.distance(points)
        points -= np.minimum(gap, 3) * sight
    hit = gap < 0.012
    return hit, points[:, hit]


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
    solid, step = SOLIDS[view.solid], np.float32(0.02) * np.eye(3, dtype=np.float32)[:, :, None]
    normal = np.stack([view.distance(points + d) - view.distance(points - d) for d in step])
    normal /= np.sqrt((normal**2).sum(0)) + 1e-6
    share = solid.paint(points[0], points[1], points[2], view.ratio)[:, None]
    albedo = colours[0] * (1 + np.minimum(share, 0)) + np.maximum(share, 0) * (colours[1] - colours[0])
    sun = view.to_solid(light[0], light[1], light[2])
    half = (sun + view.sight()) / np.linalg.norm(sun + view.sight())
    lit = np.maximum(sun @ normal, 0)[:, None]
    sky = (0.5 + 0.5 * normal[1])[:, None]
    corner = np.clip(0.55 + 0.9 * points[1], 0, 1)[:, None]  # less sky reaches what is near the ground
    ambient = corner * sky * np.array([0.46, 0.42, 0.40]) + 0.35 * (1 - sky) * ground
    shine = solid.gloss * np.maximum(half @ normal, 0)[:, None] ** 40
    colour: Array = albedo * (ambient + lit * np.array([0.66, 0.72, 0.76])) + shine
    return colour.astype(np.float32)


def shadow(view: View, light: Array, cells: int = 64) -> Array:
    """Light that reaches the ground, 0..1, over the square within `REACH`; far row first."""
    axis = np.linspace(-REACH, REACH, cells, dtype=np.float32)
    x, z = np.meshgrid(axis, axis)
    foot, sun = view.to_solid(x, 0 * x, z), view.to_solid(light[0], light[1], light[2])
    near = np.clip(view.distance(foot) / 0.4, 0, 1)
    way, free = np.full_like(x, 0.06), np.ones_like(x)
    for _ in range(16):
        gap = view.distance(foot + way * sun[:, None, None])
        free = np.minimum(free, 5 * gap / way)  # rays that pass close are in the half shadow
        way += np.clip(gap, 0.06, 0.8)
    return ((0.42 + 0.58 * np.clip(free, 0, 1)) * (0.6 + 0.4 * near)).astype(np.float32)


@dataclass(frozen=True)
class Ground:
    """One kind of ground: dark and light colour, noise cells along x and z, grain, board width."""

    dark: tuple[float, float, float]
    light: tuple[float, float, float]
    cells: tuple[int, int]
    grain: float
    boards: int = 0


GROUNDS = (
    Ground((0.10, 0.25, 0.16), (0.28, 0.58, 0.45), (24, 12), 0.20),  # grass
    Ground((0.42, 0.58, 0.68), (0.66, 0.80, 0.88), (4, 10), 0.09),  # sand
    Ground((0.36, 0.38, 0.39), (0.63, 0.65, 0.66), (5, 5), 0.10),  # stone
    Ground((0.16, 0.27, 0.42), (0.38, 0.55, 0.74), (2, 28), 0.04, 96),  # wood
    Ground((0.30, 0.24, 0.22), (0.48, 0.41, 0.37), (12, 12), 0.12),  # slate
)


def _noise(rng: np.random.Generator, side: int, cells: tuple[int, int], octaves: int) -> Array:
    """Sum of smooth random fields, each twice as fine and about half as strong, scaled to 0..1."""
    total = np.zeros((side, side), np.float32)
    for k in range(octaves):
        shape = tuple(min(side, c << k) for c in reversed(cells))
        total += 0.55**k * cv2.resize(rng.random(shape, np.float32), (side, side), interpolation=2)
    low, high = np.percentile(total[::4, ::4], (1, 99))
    return np.clip((total - low) / (high - low), 0, 1)


def _texture(rng: np.random.Generator, kind: Ground, side: int) -> Array:
    """Flat square of ground seen from above, `(side, side, 3)`."""
    tone = _noise(rng, side, kind.cells, 5) + kind.grain * rng.standard_normal((side, side), np.float32)
    if kind.boards:
        rows = np.arange(side)
        tone += rng.uniform(-0.22, 0.22, side // kind.boards + 1)[rows // kind.boards, None]
        tone[rows % kind.boards < 3] -= 0.7
    dark, light = (np.array(c) * rng.uniform(0.9, 1.1, 3) for c in (kind.dark, kind.light))
    return (dark + np.clip(tone, -0.4, 1.3)[..., None] * (light - dark)).astype(np.float32)


def background(rng: np.random.Generator, size: int, horizon: float, tilt: float) -> Array:
    """Ground in perspective and, above the horizon, an out-of-focus backdrop.

    Args:
        rng: Source of the random choices.
        size: Side of the picture, pixels.
        horizon: Row of the horizon, pixels; negative when it lies above the picture.
        tilt: Height of the camera over the ground plane, radians.

    Returns:
        Picture `(size, size, 3)`.
    """
    flat = _texture(rng, GROUNDS[rng.integers(len(GROUNDS))], 512)
    rows = np.arange(size, dtype=np.float32)[:, None]
    far = np.minimum((size - horizon) / np.maximum(rows - horizon, 1), 12)
    across = (np.arange(size, dtype=np.float32)[None] - size / 2) * far + 256
    along = far * np.float32((size - horizon) / math.sin(tilt)) + 0 * across
    # Folding back and forth keeps the coordinates inside the texture without a visible seam.
    u, v = (511 - abs(np.mod(c, 1022) - 511) for c in (across, along))
    scene = cv2.remap(flat, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
    haze = np.clip((far - 2) / 8, 0, 0.85)[..., None]
    scene = scene * (1 - haze) + haze * flat.mean((0, 1))
    if horizon > 0:
        tint = np.array([0.80, 0.72, 0.66]) * rng.uniform(0.7, 1.15, 3)
        blobs = _noise(rng, size, (5, 3), 2)[..., None]
        above = (rows < horizon)[..., None]
        scene = np.where(above, tint * (0.55 + 0.5 * blobs), scene)
        soft = cv2.GaussianBlur(scene.astype(np.float32), (0, 0), 1.6)
        scene = np.where((rows < horizon + 5)[..., None], soft, scene)
    return scene.astype(np.float32)


def develop(rng: np.random.Generator, scene: Array) -> NDArray[np.uint8]:
    """Give a rendered scene the faults of a camera: uneven light, vignette, blur and noise."""
    size = scene.shape[0]
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = axis[None, :, None], axis[:, None, None]
    light = 1 + rng.uniform(-0.16, 0.16) * x + rng.uniform(-0.12, 0.12) * y
    light = light * (1 - rng.uniform(0.08, 0.22) * (x * x + y * y) / 1.2)
    light = light * (rng.uniform(0.92, 1.15) * rng.uniform(0.96, 1.04, 3))
    blurred = cv2.GaussianBlur((scene * light).astype(np.float32), (0, 0), rng.uniform(0.35, 0.7))
    noisy = blurred + rng.uniform(0.006, 0.018) * rng.standard_normal(scene.shape, np.float32)
    return (np.clip(noisy, 0, 1) * 255 + 0.5).astype(np.uint8)
