"""Generated detection data set in YOLO format: painted solids on photograph-like grounds.

It needs no download and is the same everywhere: labels depend only on the arguments of
`generate`, pixels also on the OpenCV release that draws and encodes them.
"""

from __future__ import annotations

import colorsys
import json
import math
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from afpn_yolo import _shapes_draw as draw

CLASSES: tuple[str, ...] = tuple(draw.SOLIDS)
SPLITS = ("train", "val")
MARKER = "shapes.json"  # holds the arguments of the set; its presence says that the set is complete

# Square root of the box area in pixels and share of each band (small, medium, large in COCO's sense).
BANDS = (((23.0, 31.0), 0.26), ((36.0, 90.0), 0.46), ((100.0, 140.0), 0.28))
OVERLAP = 0.12  # largest part of the smaller of two boxes that the other may cover
FINE = 2  # silhouettes are traced at this many samples per pixel and side


@dataclass(frozen=True)
class Item:
    """One placed solid; lengths are in pixels, and `box` is its whole extent (x0, y0, x1, y1).

    Attributes:
        view: The solid and its pose.
        scale: Pixels per world unit.
        foot: Column and row of the solid's foot.
        corner: Column and row of the upper left corner of `mask`.
        mask: Silhouette with `FINE` samples per pixel and side.
        points: Surface points `(3, n)` of the silhouette.
        box: Bounds of the silhouette, before anything nearer hides a part of it.
    """

    view: draw.View
    scale: float
    foot: tuple[int, int]
    corner: tuple[int, int]
    mask: draw.Mask
    points: draw.Array
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


def _bounds(mask: draw.Mask) -> tuple[int, int, int, int]:
    """Bounds x0, y0, x1, y1 of the true cells, ends not included; zeros for an empty mask."""
    cols, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(cols):
        return 0, 0, 0, 0
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


def _model(view: draw.View, side: float) -> Item:
    """Trace a solid with its foot at pixel (0, 0) and a box of about `side` squared pixels."""
    cell = np.float32(0.08)
    xs, ys = cell * np.arange(-20, 21, dtype=np.float32), cell * np.arange(32, -20, -1, dtype=np.float32)
    x0, y0, x1, y1 = _bounds(draw.trace(view, xs, ys)[0])
    scale = side / (float(cell) * math.sqrt((x1 - x0) * (y1 - y0)))
    left, right = (round(float(cell) * (x - 20) * scale + grow) for x, grow in ((x0 - 1, -1), (x1, 1)))
    top, bottom = (round(float(cell) * (y - 32) * scale + grow) for y, grow in ((y0 - 1, -1), (y1, 1)))
    xs, ys = (
        ((np.arange(FINE * a, FINE * b) + 0.5) / (FINE * scale)).astype(np.float32)
        for a, b in ((left, right), (top, bottom))
    )
    mask, points = draw.trace(view, xs, -ys)
    x0, y0, x1, y1 = _bounds(mask)
    box = (left + x0 / FINE, top + y0 / FINE, left + x1 / FINE, top + y1 / FINE)
    col, row = x0 // FINE, y0 // FINE  # whole pixels, so that the mask can be averaged down
    mask = mask[FINE * row : FINE * -(-y1 // FINE), FINE * col : FINE * -(-x1 // FINE)]
    return Item(view, scale, (0, 0), (left + col, top + row), mask, points, box)


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
            return Item(model.view, model.scale, (x, y), corner, model.mask, model.points, box)
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
        high, wide = item.mask.shape
        owner[row : row + high, col : col + wide][item.mask] = k
    return [owner == k for k in range(len(scene.items))]


def labels(scene: Layout) -> list[tuple[int, float, float, float, float]]:
    """Class and tight box (cx, cy, w, h as parts of the picture's side) of what is seen of each."""
    rows = []
    for item, mask in zip(scene.items, visible(scene), strict=True):
        x0, y0, x1, y1 = (v / (FINE * scene.size) for v in _bounds(mask))
        box = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
        rows.append((CLASSES.index(item.view.solid), *box))
    return rows


def _shade(picture: draw.Array, item: Item, light: draw.Array, horizon: float) -> None:
    """Darken the ground of `picture` where the item keeps the light away."""
    half = (draw.REACH * item.scale, draw.REACH * item.scale * math.sin(item.view.tilt))
    patch = cv2.resize(draw.shadow(item.view, light), (round(2 * half[0]), round(2 * half[1])))
    col, row = (f - round(h) for f, h in zip(item.foot, half, strict=True))
    left, top = max(col, 0), max(row, math.ceil(max(horizon, 0)))
    under = picture[top : max(row + len(patch), 0), left : max(col + patch.shape[1], 0)]
    under *= patch[top - row :, left - col :][: len(under), : under.shape[1], None]


def _stand(
    rng: np.random.Generator, picture: draw.Array, item: Item, light: draw.Array, ground: draw.Array
) -> None:
    """Draw the item into `picture` in random colours."""
    hue, second = rng.random(2)
    first = colorsys.hsv_to_rgb(hue, rng.uniform(0.55, 0.9), rng.uniform(0.65, 0.95))
    other = colorsys.hsv_to_rgb(second, rng.uniform(0, 0.35), rng.uniform(0.85, 1))
    colours = np.array([first[::-1], other[::-1]], np.float32)
    layer = np.zeros((*item.mask.shape, 4), np.float32)
    layer[item.mask, :3] = draw.paint(item.view, item.points, colours, light, ground).clip(0, 1)
    layer[item.mask, 3] = 1
    high, wide = (n // FINE for n in item.mask.shape)
    layer = layer.reshape(high, FINE, wide, FINE, 4).mean((1, 3))
    col, row = item.corner
    under = picture[row : row + high, col : col + wide]
    under[:] = under * (1 - layer[..., 3:]) + layer[..., :3]


def render(rng: np.random.Generator, scene: Layout) -> NDArray[np.uint8]:
    """Draw a layout.

    Args:
        rng: Source of colours, textures and noise; it does not move anything.
        scene: What stands where.

    Returns:
        BGR picture `(size, size, 3)`.
    """
    picture = draw.background(rng, scene.size, scene.horizon, scene.tilt)
    ground = picture[scene.size // 2 :].mean((0, 1))
    around, height = rng.uniform(0.15 * math.pi, 0.85 * math.pi), math.radians(rng.uniform(40, 62))
    # The sun stands to one side, mostly before the solids, so that the sides in view are lit.
    sun = (math.cos(around) * math.cos(height), math.sin(height), math.sin(around) * math.cos(height))
    light = np.array(sun, np.float32)
    for item in scene.items:
        _shade(picture, item, light, scene.horizon)
    for item in scene.items:
        _stand(rng, picture, item, light, ground)
    return draw.develop(rng, picture)


def streams(seed: int, split: str, index: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Generators of one picture's layout and of its pixels, independent of every other picture."""
    pair = np.random.SeedSequence([seed, SPLITS.index(split), index]).spawn(2)
    return np.random.Generator(np.random.PCG64(pair[0])), np.random.Generator(np.random.PCG64(pair[1]))


def _write(root: Path, split: str, index: int, seed: int, size: int) -> None:
    """Write one picture and its label file."""
    for_layout, for_pixels = streams(seed, split, index)
    scene = layout(for_layout, size)
    # Encoding in memory lets Python open the file: cv2.imwrite fails on some non-ASCII paths.
    jpeg = cv2.imencode(".jpg", render(for_pixels, scene), [cv2.IMWRITE_JPEG_QUALITY, 93])[1]
    (root / "images" / split / f"{index:05d}.jpg").write_bytes(jpeg.tobytes())
    lines = "".join(f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, x, y, w, h in labels(scene))
    (root / "labels" / split / f"{index:05d}.txt").write_bytes(lines.encode())


def _check(counts: dict[str, int], seed: int, size: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count}: allowed are counts of at least 1")
    if seed < 0:
        raise ValueError(f"seed={seed}: allowed are integers of at least 0")
    if size < 128 or size % 32:
        raise ValueError(f"size={size}: allowed are multiples of 32 of at least 128")


def _present(root: Path, recipe: dict[str, int]) -> bool:
    """Whether `root` holds the complete set of `recipe`; an absent or empty folder does not.

    Raises:
        FileExistsError: The folder holds something else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    marker = root / MARKER
    found = json.loads(marker.read_text()) if marker.is_file() else None
    if found == recipe:
        return True
    what = f"a shapes set made with {found}, not {recipe}" if found else "something other than a shapes set"
    raise FileExistsError(f"{root} holds {what}; move or delete it, or choose another folder")


def generate(
    root: str | Path, train: int = 320, val: int = 80, seed: int = 0, size: int = 320
) -> Path:
    """Write the data set, unless it is there already.

    The files are written beside `root` and renamed at the end, so `root` is never half a set.

    Args:
        root: Folder of the set; it gets `images/{train,val}/*.jpg` and `labels/{train,val}/*.txt`.
        train: Number of training pictures.
        val: Number of validation pictures.
        seed: Start of all random choices, at least 0.
        size: Side of the square pictures, pixels; below 224 no object is large in COCO's sense.

    Returns:
        The folder as an absolute path.

    Raises:
        ValueError: A count is below 1, the seed negative, or the size below 128 or no multiple of 32.
        FileExistsError: `root` holds other files, or a set made with other arguments.
    """
    from ultralytics.utils import TQDM  # slow to import, and only needed here

    _check({"train": train, "val": val}, seed, size)
    recipe = {"version": 1, "train": train, "val": val, "seed": seed, "size": size}
    root = Path(root).absolute()
    if _present(root, recipe):
        return root
    part = root.with_name(f".{root.name}-{uuid.uuid4().hex}")
    try:
        for kind in ("images", "labels"):
            for split in SPLITS:
                (part / kind / split).mkdir(parents=True)
        jobs = [(s, i) for s, count in zip(SPLITS, (train, val), strict=True) for i in range(count)]
        for split, index in TQDM(jobs, desc=f"Drawing shapes to {root}"):
            _write(part, split, index, seed, size)
        (part / MARKER).write_text(json.dumps(recipe))
        _publish(part, root, recipe)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return root


def _publish(part: Path, root: Path, recipe: dict[str, int]) -> None:
    """Rename the finished folder to `root`, or leave it when another process was first."""
    try:
        if root.exists():
            root.rmdir()  # only an empty folder goes; some systems do not rename onto it
        part.rename(root)
    except OSError:
        if not _present(root, recipe):
            raise
