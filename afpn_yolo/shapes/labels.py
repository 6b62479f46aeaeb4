"""What Ultralytics' label files and data YAML say of a scene, by task."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from afpn_yolo.shapes.draw import Mask
from afpn_yolo.shapes.scene import CLASSES, FINE, Item, Layout, bounds, visible

POINTS = ("top", "right", "bottom", "left")
"""Keypoints: where the whole silhouette reaches farthest. A mirror exchanges right and left."""

Numbers = list[float]


def _box(item: Item, seen: Mask) -> Numbers:
    """Centre and sides of the tight box of what is seen."""
    x0, y0, x1, y1 = (v / FINE for v in bounds(seen))
    return [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]


def _outline(item: Item, seen: Mask) -> NDArray[np.float32]:
    """Polygon `(n, 2)` around what is seen, its largest part if there are several, holes filled."""
    found = cv2.findContours(seen.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    polygon = cv2.approxPolyDP(max(found, key=cv2.contourArea), 1.5, closed=True)
    return ((polygon[:, 0] + 0.5) / FINE).astype(np.float32)


def _polygon(item: Item, seen: Mask) -> Numbers:
    values: Numbers = _outline(item, seen).ravel().tolist()
    return values


def _rotated(item: Item, seen: Mask) -> Numbers:
    """Corners of the smallest rectangle around what is seen; upright where a turn gains little."""
    rectangle = cv2.minAreaRect(_outline(item, seen))
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
        x = item.corner[0] + (cols[cells] + 0.5) / item.fine
        y = item.corner[1] + (rows[cells] + 0.5) / item.fine
        shown = seen[(FINE * y).astype(int), (FINE * x).astype(int)].any()
        values += [float(x.mean()), float(y.mean()), 2 if shown else 1]
    return values


TASKS = {"detect": _box, "segment": _polygon, "pose": _pose, "obb": _rotated}


def labels(scene: Layout, task: str = "detect") -> list[tuple[int, Numbers]]:
    """Class of each item and what its line in a label file says, in pixels, the farthest first."""
    pairs = zip(scene.items, visible(scene), strict=True)
    return [(CLASSES.index(item.view.solid), TASKS[task](item, seen)) for item, seen in pairs]


def label_file(scene: Layout, task: str) -> str:
    """Text of a picture's label file: coordinates as parts of its side, flags as they are."""
    lines = []
    for number, values in labels(scene, task):
        words = [
            str(v) if isinstance(v, int) else f"{min(max(v / scene.size, 0), 1):.6f}"
            for v in values
        ]
        lines.append(f"{number} {' '.join(words)}\n")
    return "".join(lines)


def data_yaml(task: str) -> str:
    """Text of the set's `data.yaml`, whose folder is the set's."""
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    text = f"train: images/train\nval: images/val\nnames:\n{names}"
    if task == "pose":
        text += f"kpt_shape: [{len(POINTS)}, 3]  # {', '.join(POINTS)}\nflip_idx: [0, 3, 2, 1]\n"
    return text
