"""Write the shapes set to disk in YOLO format, whole or not at all."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from tqdm import tqdm

from afpn_yolo.shapes.scene import CLASSES, Item, Layout, bounds, layout, render, visible
from afpn_yolo.shapes.solids import Mask

SPLITS = ("train", "val")
MARKER = "shapes.json"  # holds the arguments of the set; its presence says that the set is complete
POINTS = ("top", "right", "bottom", "left")
"""Keypoints: where the whole silhouette reaches farthest. A mirror exchanges right and left."""

Numbers = list[float]


def _box(item: Item, seen: Mask) -> Numbers:
    """Centre and sides of the tight box of what is seen."""
    x0, y0, x1, y1 = bounds(seen)
    return [(x0 + x1) / 2, (y0 + y1) / 2, float(x1 - x0), float(y1 - y0)]


def _polygon(item: Item, seen: Mask) -> Numbers:
    """Outline of what is seen: its largest part if there are several, holes filled."""
    fine = seen.repeat(2, 0).repeat(2, 1).astype(np.uint8)  # a contour runs through cells' centres
    parts = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    polygon = cv2.approxPolyDP(max(parts, key=cv2.contourArea), 1.5, closed=True)
    points: Numbers = ((polygon + 0.5) / 2).ravel().tolist()
    return points


def _rotated(item: Item, seen: Mask) -> Numbers:
    """Corners of the smallest rectangle around what is seen; upright where a turn gains little."""
    rectangle = cv2.minAreaRect(np.array(_polygon(item, seen), np.float32).reshape(-1, 2))
    x, y, w, h = _box(item, seen)
    if w * h < 1.05 * np.prod(rectangle[1]):  # a ball, say, has no angle that could be learnt
        rectangle = (x, y), (w, h), 0
    corners: Numbers = cv2.boxPoints(rectangle).ravel().tolist()
    return corners


def _pose(item: Item, seen: Mask) -> Numbers:
    """Box, then each keypoint's column, row and flag: 2 seen, 1 behind a nearer solid."""
    rows, cols = np.nonzero(item.mask)
    extremes = rows == rows.min(), cols == cols.max(), rows == rows.max(), cols == cols.min()
    values = _box(item, seen)
    for cells in extremes:
        x, y = item.box[0] + cols[cells], item.box[1] + rows[cells]
        values += [float(x.mean()) + 0.5, float(y.mean()) + 0.5, 2 if seen[y, x].any() else 1]
    return values


TASKS = {"detect": _box, "segment": _polygon, "pose": _pose, "obb": _rotated}
NAMES = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
DATA_YAML = f"train: images/train\nval: images/val\nnames:\n{NAMES}"
POSE_YAML = f"kpt_shape: [4, 3]  # {', '.join(POINTS)}\nflip_idx: [0, 3, 2, 1]\n"


def labels(scene: Layout, task: str = "detect") -> list[tuple[int, Numbers]]:
    """Class of each item and the numbers of its label in pixels, the farthest first."""
    pairs = zip(scene.items, visible(scene), strict=True)
    return [(CLASSES.index(item.view.name), TASKS[task](item, seen)) for item, seen in pairs]


def streams(seed: int, split: str, index: int) -> list[np.random.Generator]:
    """Generators of one picture's layout and of its pixels, independent of every other picture."""
    seeds = np.random.SeedSequence([seed, SPLITS.index(split), index]).spawn(2)
    return [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]


def _write(root: Path, split: str, index: int, seed: int, size: int, task: str) -> None:
    """Write one picture and its label file."""
    for_layout, for_pixels = streams(seed, split, index)
    scene = layout(for_layout, size)
    # Encoding in memory lets Python open the file: cv2.imwrite fails on some non-ASCII paths.
    jpeg = cv2.imencode(".jpg", render(for_pixels, scene), [cv2.IMWRITE_JPEG_QUALITY, 93])[1]
    (root / "images" / split / f"{index:05d}.jpg").write_bytes(jpeg.tobytes())
    text = ""  # coordinates as parts of the side, flags as they are
    for number, values in labels(scene, task):
        parts = (v if isinstance(v, int) else min(max(v / size, 0), 1) for v in values)
        words = (str(v) if isinstance(v, int) else f"{v:.6f}" for v in parts)
        text += f"{number} {' '.join(words)}\n"
    (root / "labels" / split / f"{index:05d}.txt").write_bytes(text.encode())


def _present(root: Path, recipe: dict[str, object]) -> bool:
    """Whether `root` holds the complete set of `recipe`; an absent or empty folder does not.

    Raises:
        FileExistsError: The folder holds something else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    marker = root / MARKER
    other = json.loads(marker.read_text()) if marker.is_file() else None
    if other == recipe:
        return True
    what = f"a shapes set made with {other}, not {recipe}" if other else "something else"
    raise FileExistsError(f"{root} holds {what}; move or delete it, or choose another folder")


def generate(
    root: str | Path,
    train: int = 320,
    val: int = 80,
    seed: int = 0,
    size: int = 320,
    task: str = "detect",
) -> Path:
    """Write the data set, unless it is there already.

    The files are written beside `root` and renamed at the end, so `root` is never half a set.

    Args:
        root: Folder of the set; it gets `images/{train,val}/*.jpg`, `labels/{train,val}/*.txt` and
            `data.yaml`, which `yolo train data=...` takes.
        train: Number of training pictures.
        val: Number of validation pictures.
        seed: Start of all random choices, at least 0.
        size: Side of the square pictures, pixels. At the default, no object is small in COCO's
            sense; below 224 none is large.
        task: What the labels of the same pictures hold: `detect` (boxes), `segment` (polygons),
            `pose` (boxes and four keypoints) or `obb` (rotated boxes).

    Returns:
        The folder as an absolute path.

    Raises:
        ValueError: A count or the seed is too small, the size is below 128 or no multiple of 32, or
            there is no such task.
        FileExistsError: `root` holds other files, or a set made with other arguments.
    """
    for name, value, least in (("train", train, 1), ("val", val, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if size < 128 or size % 32:
        raise ValueError(f"size must be a multiple of 32 from 128 on, got {size}")
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task}")
    recipe = {"version": 3, "train": train, "val": val, "seed": seed, "size": size, "task": task}
    root = Path(root).absolute()
    if _present(root, recipe):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as folder:
        part = Path(folder, "set")
        for kind, split in product(("images", "labels"), SPLITS):
            (part / kind / split).mkdir(parents=True)
        jobs = [("train", i) for i in range(train)] + [("val", i) for i in range(val)]
        for split, index in tqdm(jobs, desc=f"Drawing shapes to {root}", disable=None):
            _write(part, split, index, seed, size, task)
        text = DATA_YAML + (POSE_YAML if task == "pose" else "")
        (part / "data.yaml").write_bytes(text.encode())
        (part / MARKER).write_text(json.dumps(recipe))
        try:
            if root.exists():
                root.rmdir()  # only an empty folder goes; some systems do not rename onto it
            part.rename(root)
        except OSError:
            if not _present(root, recipe):  # else another process was first
                raise
    return root
