"""One picture: where its solids stand, what of them is seen, and how all of it looks."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from afpn_yolo.shapes import solids
from afpn_yolo.shapes.solids import Array, Mask

Picture = NDArray[np.uint8]
Box = tuple[int, int, int, int]

CLASSES: tuple[str, ...] = tuple(solids.SOLIDS)
BANDS = ((40.0, 50.0), (50.0, 90.0), (100.0, 140.0))
"""Square root of a box's area in pixels. At 192 pixels, the size of `make demo`, the smallest have
24: those of 16 could not be told apart."""
SHARES = (0.25, 0.45, 0.3)  # of the bands
OVERLAP = 0.12  # largest part of the smaller of two boxes that the other may cover
SIDE = 320  # of a texture, in samples
CELL = 0.12  # of the coarse look at a solid, in world units


class Ground(NamedTuple):
    """One kind of ground: colours and cells of its noise, and the width of its boards, if any."""

    dark: tuple[float, float, float]
    light: tuple[float, float, float]
    cells: tuple[int, int]  # of the coarsest noise, along x and z
    rough: float  # strength of each finer noise relative to the one before
    boards: int = 0  # rows of the texture


GROUNDS = (
    Ground((0.09, 0.25, 0.15), (0.32, 0.62, 0.48), (10, 7), 1.0),  # grass
    Ground((0.42, 0.58, 0.68), (0.66, 0.80, 0.88), (4, 10), 0.7),  # sand
    Ground((0.36, 0.38, 0.39), (0.66, 0.68, 0.69), (5, 5), 0.8),  # stone
    Ground((0.16, 0.27, 0.42), (0.38, 0.55, 0.74), (2, 28), 0.55, 80),  # wood
    Ground((0.25, 0.22, 0.21), (0.47, 0.42, 0.40), (12, 12), 0.95),  # slate
)


@dataclass(frozen=True)
class Item:
    """One solid in the picture."""

    view: solids.View
    scale: float  # pixels per world unit
    offset: tuple[int, int]  # from `foot` to the upper left corner of `mask`
    mask: Mask  # silhouette, cut to its bounds, before anything nearer hides a part of it
    points: Array  # of the surface, `(3, n)`, one for each pixel of the silhouette
    foot: tuple[int, int] = (0, 0)  # column and row of the picture

    @property
    def box(self) -> Box:
        """x0, y0, x1, y1 of the silhouette."""
        x, y = (a + b for a, b in zip(self.foot, self.offset, strict=True))
        return x, y, x + self.mask.shape[1], y + self.mask.shape[0]


class Layout(NamedTuple):
    """What stands where in one picture; lengths in pixels."""

    size: int  # side of the picture
    horizon: float  # its row; negative when it lies above the picture
    tilt: float  # height of the camera over the ground plane, radians
    items: tuple[Item, ...]  # the farthest first


def bounds(mask: Mask) -> Box:
    """Bounds x0, y0, x1, y1 of the true cells, ends not included; zeros for an empty mask."""
    x, y, wide, high = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, x + wide, y + high


def _model(view: solids.View, side: float) -> Item:
    """Trace a solid with its foot at pixel (0, 0) and a box of about `side` squared pixels."""
    # A coarse look over all the space that a solid can take finds its extent in world units.
    coarse = (CELL * np.arange(-19, 20)).astype(np.float32)
    x0, y0, x1, y1 = bounds(solids.trace(view, coarse, -coarse)[0])
    scale = side / (CELL * math.sqrt((x1 - x0) * (y1 - y0)))
    ends = [round((v - 19) * CELL * scale) for v in (x0 - 1, y0 - 1, x1 + 1, y1 + 1)]
    left, top = ends[0] - 1, ends[1] - 1
    xs = ((np.arange(left, ends[2] + 1) + 0.5) / scale).astype(np.float32)
    ys = ((np.arange(top, ends[3] + 1) + 0.5) / scale).astype(np.float32)
    mask, points = solids.trace(view, xs, -ys)
    x0, y0, x1, y1 = bounds(mask)
    return Item(view, scale, (left + x0, top + y0), mask[y0:y1, x0:x1], points)


def covered(a: Box, b: Box) -> float:
    """Part of the smaller box that the other one covers, 0..1."""
    wide, high = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    smaller = min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return max(wide, 0) * max(high, 0) / smaller


def _place(
    rng: np.random.Generator, model: Item, items: list[Item], size: int, ground: float
) -> list[Item]:
    """Stand a model inside the picture, on the ground and clear of the others; none if no room."""
    x0, y0, x1, y1 = model.box
    low, high = (2 - x0, max(2 - y0, math.ceil(ground))), (size - 2 - x1, size - 2 - y1)
    if low[0] > high[0] or low[1] > high[1]:
        return []
    for _ in range(30):
        x, y = (int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True))
        item = replace(model, foot=(x, y))
        if all(covered(item.box, other.box) <= OVERLAP for other in items):
            return [item]
    return []


def layout(rng: np.random.Generator, size: int) -> Layout:
    """Choose the camera and one to six solids; large ones first, because they need the room."""
    seen = rng.random() < 0.4
    horizon = size * float(rng.uniform(0.08, 0.2) if seen else rng.uniform(-1.4, -0.5))
    tilt = math.radians(float(rng.uniform(24, 32) if seen else rng.uniform(32, 48)))
    bands = rng.choice(len(BANDS), rng.integers(1, 7), p=SHARES)
    items: list[Item] = []
    for band in sorted(bands, reverse=True):
        side = min(rng.uniform(*BANDS[band]), 0.5 * size)
        name = CLASSES[rng.integers(len(CLASSES))]
        view = solids.View(name, rng.random(), rng.uniform(0, 2 * math.pi), tilt)
        items += _place(rng, _model(view, side), items, size, horizon + 0.05 * size)
    return Layout(size, horizon, tilt, tuple(sorted(items, key=lambda item: item.foot[1])))


def visible(scene: Layout) -> list[Mask]:
    """Part of each item that nothing nearer hides, as masks of the picture."""
    owner = np.full((scene.size, scene.size), -1, np.int8)
    for k, item in enumerate(scene.items):
        x0, y0, x1, y1 = item.box
        owner[y0:y1, x0:x1][item.mask] = k
    return [owner == k for k in range(len(scene.items))]


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


def _background(rng: np.random.Generator, scene: Layout) -> Array:
    """Ground in perspective and, above the horizon, an out-of-focus backdrop."""
    size, horizon, kind = scene.size, scene.horizon, GROUNDS[rng.integers(len(GROUNDS))]
    tone = _noise(rng, SIDE, kind.cells, kind.rough, 6)
    if kind.boards:
        board = np.arange(SIDE) // kind.boards
        shift = rng.uniform(-0.22, 0.22, SIDE // kind.boards + 1).astype(np.float32)
        tone += shift[board, None]
        tone[np.arange(SIDE) % kind.boards < 3] -= 0.7
    tint = rng.uniform(0.85, 1.15) * rng.uniform(0.96, 1.04, 3)
    dark, light = (np.array(c * tint, np.float32) for c in (kind.dark, kind.light))
    flat = dark + np.maximum(tone, -0.4)[..., None] * (light - dark)  # as seen from above
    rows = np.arange(size, dtype=np.float32)[:, None]
    far = np.minimum((size - horizon) / np.maximum(rows - horizon, 1), 20)
    across = (np.arange(size, dtype=np.float32)[None] - size / 2) * far + SIDE / 2
    along = (far - 1) * np.float32((size - horizon) / math.sin(scene.tilt)) + 0 * across
    # Mirroring at the texture's rim continues it without a visible seam.
    seen = cv2.remap(flat, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    picture = np.asarray(seen, np.float32)
    haze = np.clip((far - 1.5) / 6, 0, 0.95)[..., None]  # far ground is too fine to be drawn
    picture += haze * (flat[::4, ::4].mean((0, 1)) - picture)
    if horizon > 0:
        edge = math.ceil(horizon)
        tint = (np.array([0.74, 0.68, 0.64]) * rng.uniform(0.6, 1.15, 3)).astype(np.float32)
        picture[:edge] = tint * (0.5 + 0.6 * _noise(rng, size, (9, 12), 0.7, 2)[:edge, :, None])
        picture[: edge + 6] = cv2.GaussianBlur(picture[: edge + 12], (0, 0), 1.8)[: edge + 6]
    return picture


def _shade(picture: Array, item: Item, light: Array, horizon: float) -> None:
    """Darken the ground of `picture` where the item keeps the light away."""
    patch = solids.shadow(item.view, light)
    across = 2 * solids.REACH * item.scale / len(patch)  # pixels per cell
    down, (x, y) = across * math.sin(item.view.tilt), item.foot
    middle = (len(patch) - 1) / 2
    place = np.array([[across, 0, x - middle * across], [0, down, y - middle * down]])
    whole = cv2.warpAffine(patch, place, picture.shape[:2], borderValue=1)
    top = math.ceil(max(horizon, 0))
    picture[top:] *= whole[top:, :, None]


def _stand(rng: np.random.Generator, picture: Array, item: Item, light: Array) -> None:
    """Draw the item into `picture` in random colours."""
    hue, second = rng.random(2)
    first = colorsys.hsv_to_rgb(hue, rng.uniform(0.55, 0.9), rng.uniform(0.65, 0.95))
    other = colorsys.hsv_to_rgb(second, rng.uniform(0, 0.35), rng.uniform(0.85, 1))
    colours = np.array([first[::-1], other[::-1]], np.float32)
    ground = picture[len(picture) // 2 :].mean((0, 1))
    mask = np.pad(item.mask, 2)  # `_place` keeps two pixels free around every solid
    layer = np.zeros((*mask.shape, 4), np.float32)
    layer[mask, :3] = solids.paint(item.view, item.points, colours, light, ground).clip(0, 1)
    layer[mask, 3] = 1
    layer = cv2.GaussianBlur(layer, (5, 5), 0.55)
    x0, y0, x1, y1 = item.box
    under = picture[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2]
    under[:] = under * (1 - layer[..., 3:]) + layer[..., :3]


def _develop(rng: np.random.Generator, picture: Array) -> Picture:
    """Make it a photograph: uneven light, vignette, slight blur and noise, 8 bits."""
    axis = np.linspace(-1, 1, len(picture), dtype=np.float32)
    x, y = axis[None, :, None], axis[:, None, None]
    light = 1 + rng.uniform(-0.16, 0.16) * x + rng.uniform(-0.12, 0.12) * y
    light = light * (1 - rng.uniform(0.06, 0.18) * (x * x + y * y))
    light = light * (rng.uniform(0.95, 1.15) * rng.uniform(0.97, 1.03, 3)).astype(np.float32)
    taken = cv2.GaussianBlur(picture * light, (5, 5), rng.uniform(0.3, 0.65))
    taken += rng.uniform(0.02, 0.06) * (rng.random(picture.shape, np.float32) - np.float32(0.5))
    # The conversion rounds, and stops at 255.
    return np.asarray(cv2.convertScaleAbs(np.maximum(taken, 0), alpha=255), np.uint8)


def render(rng: np.random.Generator, scene: Layout) -> Picture:
    """Draw a layout: a BGR picture `(size, size, 3)`; `rng` gives colours, textures, noise."""
    picture = _background(rng, scene)
    # The sun stands to one side, mostly before the solids, so that the sides in view are lit.
    yaw, height = rng.uniform(0.15 * math.pi, 0.85 * math.pi), math.radians(rng.uniform(40, 62))
    flat = math.cos(height)
    light = np.array([math.cos(yaw) * flat, math.sin(height), math.sin(yaw) * flat], np.float32)
    for item in scene.items:
        _shade(picture, item, light, scene.horizon)
    for item in scene.items:
        _stand(rng, picture, item, light)
    return _develop(rng, picture)
