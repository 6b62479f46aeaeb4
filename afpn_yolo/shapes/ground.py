"""What lies around the solids: textured ground, a backdrop, and the camera's faults."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from afpn_yolo.shapes.solids import Array

Picture = NDArray[np.uint8]


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
