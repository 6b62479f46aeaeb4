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
Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Distance = Callable[[Array, Array, Array, float], Array]

REACH = 3.6  # half side, in world units, of the ground square searched for a solid's shadow


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
        return self.to_solid(np.float32(0), np.float32(s), np.float32(c))  # type: ignore[arg-type]


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


@dataclass(frozen=True)
class Ground:
    """One kind of ground.

    Attributes:
        dark: Colour of the low end of the noise.
        light: Colour of the high end.
        cells: Cells of the coarsest noise field along x and z.
        rough: Strength of each finer noise field relative to the one before.
        boards: Width of the boards in texture rows; 0 for none.
    """

    dark: tuple[float, float, float]
    light: tuple[float, float, float]
    cells: tuple[int, int]
    rough: float
    boards: int = 0


GROUNDS = (
    Ground((0.09, 0.25, 0.15), (0.32, 0.62, 0.48), (10, 7), 1.0),  # grass
    Ground((0.42, 0.58, 0.68), (0.66, 0.80, 0.88), (4, 10), 0.7),  # sand
    Ground((0.36, 0.38, 0.39), (0.66, 0.68, 0.69), (5, 5), 0.8),  # stone
    Ground((0.16, 0.27, 0.42), (0.38, 0.55, 0.74), (2, 28), 0.55, 80),  # wood
    Ground((0.25, 0.22, 0.21), (0.47, 0.42, 0.40), (12, 12), 0.95),  # slate
)
SIDE = 320  # of a texture, in samples


def _noise(
    rng: np.random.Generator, side: int, cells: tuple[int, int], rough: float, octaves: int
) -> Array:
    """Sum of smooth random fields, each twice as fine as the one before, scaled to about 0..1."""
    total = np.zeros((side, side), np.float32)
    for k in range(octaves):
        shape = tuple(min(side, c << k) for c in reversed(cells))
        field = rng.random(shape, np.float32) - np.float32(0.5)
        total += rough**k * cv2.resize(field, (side, side), interpolation=cv2.INTER_CUBIC)
    scaled: Array = np.clip(0.5 + total * np.float32(0.21 / total[::3, ::3].std()), 0, 1)
    return scaled


def _texture(rng: np.random.Generator, kind: Ground) -> Array:
    """Flat square of ground seen from above, `(SIDE, SIDE, 3)`."""
    tone = _noise(rng, SIDE, kind.cells, kind.rough, 6)
    if kind.boards:
        rows = np.arange(SIDE)
        shift = rng.uniform(-0.22, 0.22, SIDE // kind.boards + 1).astype(np.float32)
        tone += shift[rows // kind.boards, None]
        tone[rows % kind.boards < 3] -= 0.7
    tint = rng.uniform(0.85, 1.15) * rng.uniform(0.96, 1.04, 3)
    dark, light = (np.array(c * tint, np.float32) for c in (kind.dark, kind.light))
    texture: Array = dark + np.maximum(tone, -0.4)[..., None] * (light - dark)
    return texture


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
    flat = _texture(rng, GROUNDS[rng.integers(len(GROUNDS))])
    rows = np.arange(size, dtype=np.float32)[:, None]
    far = np.minimum((size - horizon) / np.maximum(rows - horizon, 1), 20)
    across = (np.arange(size, dtype=np.float32)[None] - size / 2) * far + SIDE / 2
    along = (far - 1) * np.float32((size - horizon) / math.sin(tilt)) + 0 * across
    # Mirroring at the texture's rim continues it without a visible seam.
    scene = np.asarray(
        cv2.remap(flat, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
        np.float32,
    )
    haze = np.clip((far - 1.5) / 6, 0, 0.95)[..., None]  # far ground is too fine to be drawn
    scene += haze * (flat[::4, ::4].mean((0, 1)) - scene)
    if horizon > 0:
        edge = math.ceil(horizon)
        tint = (np.array([0.74, 0.68, 0.64]) * rng.uniform(0.6, 1.15, 3)).astype(np.float32)
        blobs = _noise(rng, size, (9, 12), 0.7, 2)[:edge, :, None]
        scene[:edge] = tint * (0.5 + 0.6 * blobs)
        scene[: edge + 6] = cv2.GaussianBlur(scene[: edge + 12], (0, 0), 1.8)[: edge + 6]
    return scene


def develop(rng: np.random.Generator, scene: Array) -> Picture:
    """Make a scene a photograph: uneven light, vignette, slight blur and noise, 8 bits."""
    size = scene.shape[0]
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = axis[None, :, None], axis[:, None, None]
    light = 1 + rng.uniform(-0.16, 0.16) * x + rng.uniform(-0.12, 0.12) * y
    light = light * (1 - rng.uniform(0.06, 0.18) * (x * x + y * y))
    light = light * (rng.uniform(0.95, 1.15) * rng.uniform(0.97, 1.03, 3)).astype(np.float32)
    taken = cv2.GaussianBlur(scene * light, (5, 5), rng.uniform(0.3, 0.65))
    taken += rng.uniform(0.02, 0.06) * (rng.random(scene.shape, np.float32) - np.float32(0.5))
    # The conversion rounds, and stops at 255.
    return np.asarray(cv2.convertScaleAbs(np.maximum(taken, 0), alpha=255), np.uint8)
