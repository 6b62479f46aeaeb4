"""One picture of the shapes set: where its solids stand, what of them is seen, how it looks."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from afpn_yolo.shapes import draw
from afpn_yolo.shapes.ground import Picture, background, develop
from afpn_yolo.shapes.solids import SOLIDS, Array

CLASSES: tuple[str, ...] = tuple(SOLIDS)

# Square root of the box area in pixels, and share, of COCO's small, medium and large objects.
BANDS = (((26.0, 31.5), 0.2), ((36.0, 90.0), 0.5), ((100.0, 140.0), 0.3))
OVERLAP = 0.12  # largest part of the smaller of two boxes that the other may cover
FINE = 2  # samples per pixel and side for small silhouettes; larger ones have one


@dataclass(frozen=True)
class Item:
    """One placed solid; lengths are in pixels, and `box` is its whole extent (x0, y0, x1, y1).

    Attributes:
        view: The solid and its pose.
        scale: Pixels per world unit.
        foot: Column and row of the solid's foot.
        corner: Column and row of the upper left corner of `mask`.
        fine: Samples of `mask` per pixel and side, 1 or `FINE`.
        mask: Silhouette in whole pixels.
        points: Surface points `(3, n)` of the silhouette.
        box: Bounds of the silhouette, before anything nearer hides a part of it.
    """

    view: draw.View
    scale: float
    foot: tuple[int, int]
    corner: tuple[int, int]
    fine: int
    mask: draw.Mask
    points: Array
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Layout:
    """What stands where in one picture.

    Attributes:
        size: Side of the picture, pixels.
        horizon: Row of the horizon, pixels.
        tilt: Height of the camera over the ground plane, radians.
        items: Placed solids, the farthest first.
    """

    size: int
    horizon: float
    tilt: float
    items: tuple[Item, ...]


def bounds(mask: draw.Mask) -> tuple[int, int, int, int]:
    """Bounds x0, y0, x1, y1 of the true cells, ends not included; zeros for an empty mask."""
    cols, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(cols):
        return 0, 0, 0, 0
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


def _model(view: draw.View, side: float) -> Item:
    """Trace a solid with its foot at pixel (0, 0) and a box of about `side` squared pixels."""
    # A coarse look over all the space that a solid can take finds its extent in world units.
    cell = 0.12
    coarse = (cell * np.arange(-19, 20)).astype(np.float32)
    extent = np.array(bounds(draw.trace(view, coarse, -coarse)[0]))
    scale = side / (cell * math.sqrt((extent[2] - extent[0]) * (extent[3] - extent[1])))
    margin = np.array([-1, -1, 1, 1])
    reach = np.rint((extent - 19 + margin) * cell * scale).astype(int) + margin
    left, top, right, bottom = reach.tolist()
    fine = FINE if side < 44 else 1
    xs, ys = (
        ((np.arange(fine * a, fine * b) + 0.5) / (fine * scale)).astype(np.float32)
        for a, b in ((left, right), (top, bottom))
    )
    mask, points = draw.trace(view, xs, -ys)
    x0, y0, x1, y1 = bounds(mask)
    box = (left + x0 / fine, top + y0 / fine, left + x1 / fine, top + y1 / fine)
    col, row = x0 // fine, y0 // fine  # whole pixels, so that the picture can be averaged down
    mask = mask[fine * row : fine * -(-y1 // fine), fine * col : fine * -(-x1 // fine)]
    return Item(view, scale, (0, 0), (left + col, top + row), fine, mask, points, box)


def _covered(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Part of the smaller box that the other one covers, 0..1."""
    wide, high = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    smaller = min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return max(wide, 0) * max(high, 0) / smaller


def _place(
    rng: np.random.Generator, model: Item, items: list[Item], size: int, ground: float
) -> Item | None:
    """Stand a model inside the picture, on the ground and clear of the others; None if no room."""
    x0, y0, x1, y1 = model.box
    low = (math.ceil(2 - x0), max(math.ceil(2 - y0), math.ceil(ground)))
    high = (math.floor(size - 2 - x1), math.floor(size - 2 - y1))
    if low[0] > high[0] or low[1] > high[1]:
        return None
    for _ in range(30):
        x, y = (int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True))
        box = (x0 + x, y0 + y, x1 + x, y1 + y)
        if all(_covered(box, other.box) <= OVERLAP for other in items):
            corner = (model.corner[0] + x, model.corner[1] + y)
            return replace(model, foot=(x, y), corner=corner, box=box)
    return None


def layout(rng: np.random.Generator, size: int) -> Layout:
    """Choose the camera and one to six solids; large ones first, because they need the room."""
    seen = rng.random() < 0.4
    horizon = size * float(rng.uniform(0.08, 0.2) if seen else rng.uniform(-1.4, -0.5))
    tilt = math.radians(float(rng.uniform(24, 32) if seen else rng.uniform(32, 48)))
    chances = np.cumsum([share for _, share in BANDS])
    bands = [BANDS[int(np.searchsorted(chances, u))][0] for u in rng.random(rng.integers(1, 7))]
    items: list[Item] = []
    for band in sorted(bands, reverse=True):
        side = min(float(rng.uniform(*band)), 0.5 * size)
        name = CLASSES[rng.integers(len(CLASSES))]
        view = draw.View(name, float(rng.random()), float(rng.uniform(0, 2 * math.pi)), tilt)
        item = _place(rng, _model(view, side), items, size, horizon + 0.05 * size)
        items += [item] if item else []
    return Layout(size, horizon, tilt, tuple(sorted(items, key=lambda item: item.foot[1])))


def visible(scene: Layout) -> list[draw.Mask]:
    """Part of each item that nothing nearer hides, as masks of the picture, `FINE` per pixel."""
    owner = np.full((FINE * scene.size,) * 2, -1, np.int8)
    for k, item in enumerate(scene.items):
        col, row = (FINE * c for c in item.corner)
        mask = item.mask.repeat(FINE // item.fine, 0).repeat(FINE // item.fine, 1)
        owner[row : row + len(mask), col : col + mask.shape[1]][mask] = k
    return [owner == k for k in range(len(scene.items))]


def _shade(picture: Array, item: Item, light: Array, horizon: float) -> None:
    """Darken the ground of `picture` where the item keeps the light away."""
    half = (draw.REACH * item.scale, draw.REACH * item.scale * math.sin(item.view.tilt))
    patch = cv2.resize(draw.shadow(item.view, light), (round(2 * half[0]), round(2 * half[1])))
    col, row = (f - round(h) for f, h in zip(item.foot, half, strict=True))
    left, top = max(col, 0), max(row, math.ceil(max(horizon, 0)))
    under = picture[top : max(row + len(patch), 0), left : max(col + patch.shape[1], 0)]
    under *= patch[top - row :, left - col :][: len(under), : under.shape[1], None]


def _stand(
    rng: np.random.Generator, picture: Array, item: Item, light: Array, ground: Array
) -> None:
    """Draw the item into `picture` in random colours."""
    hue, second = rng.random(2)
    first = colorsys.hsv_to_rgb(hue, rng.uniform(0.55, 0.9), rng.uniform(0.65, 0.95))
    other = colorsys.hsv_to_rgb(second, rng.uniform(0, 0.35), rng.uniform(0.85, 1))
    colours = np.array([first[::-1], other[::-1]], np.float32)
    fine, rim = item.fine, 2 * item.fine  # `_place` keeps two pixels free around every solid
    mask = np.pad(item.mask, rim)
    layer = np.zeros((*mask.shape, 4), np.float32)
    layer[mask, :3] = draw.paint(item.view, item.points, colours, light, ground).clip(0, 1)
    layer[mask, 3] = 1
    if fine > 1:
        layer = cv2.resize(layer, None, fx=1 / fine, fy=1 / fine, interpolation=cv2.INTER_AREA)
    layer = cv2.GaussianBlur(layer, (5, 5), 0.55)
    col, row = item.corner[0] - 2, item.corner[1] - 2
    under = picture[row : row + layer.shape[0], col : col + layer.shape[1]]
    under[:] = under * (1 - layer[..., 3:]) + layer[..., :3]


def render(rng: np.random.Generator, scene: Layout) -> Picture:
    """Draw a layout.

    Args:
        rng: Source of colours, textures and noise; it does not move anything.
        scene: What stands where.

    Returns:
        BGR picture `(size, size, 3)`.
    """
    picture = background(rng, scene.size, scene.horizon, scene.tilt)
    ground = picture[scene.size // 2 :].mean((0, 1))
    around, height = rng.uniform(0.15 * math.pi, 0.85 * math.pi), math.radians(rng.uniform(40, 62))
    # The sun stands to one side, mostly before the solids, so that the sides in view are lit.
    sun = (
        math.cos(around) * math.cos(height),
        math.sin(height),
        math.sin(around) * math.cos(height),
    )
    light = np.array(sun, np.float32)
    for item in scene.items:
        _shade(picture, item, light, scene.horizon)
    for item in scene.items:
        _stand(rng, picture, item, light, ground)
    return develop(rng, picture)
