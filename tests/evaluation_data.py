"""A data set that an untrained model does well on: labels are what it finds, then disturbed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from afpn_yolo.evaluation.coco import Floats
from afpn_yolo.upstream.loading import open_model
from afpn_yolo.upstream.validator import predict
from tests.lively import NAMES, PHOTOGRAPHS, photograph

SIDE = 160
COCO_IDS = {0: 90, 1: 1, 2: 13, 3: 44}  # neither from 0 nor in order
SHAPES = ((320, 240), (200, 320), (280, 280))  # portrait, landscape, square


@dataclass(frozen=True)
class Case:
    """A model, and the same objects in both formats."""

    model: Path
    yaml: Path
    json: Path

    @property
    def images(self) -> Path:
        return self.yaml.parent / "images" / "val"


@contextlib.contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Nothing may be written into the folder, or touched."""

    def state() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*")}

    before = state()
    yield
    assert state() == before


def cut(folder: Path, count: int = 24) -> list[Path]:
    """Parts of photographs, in three shapes."""
    g = np.random.default_rng(0)
    folder.mkdir(parents=True)
    images = []
    for i in range(count):
        height, width = SHAPES[i % len(SHAPES)]
        whole = photograph(PHOTOGRAPHS[i % 2], 560, 560)
        top, left = g.integers(560 - height), g.integers(560 - width)
        images.append(folder / f"{i:03d}.png")
        assert cv2.imwrite(str(images[-1]), whole[top : top + height, left : left + width])
    return images


def size_of(image: Path) -> tuple[int, int]:
    """Height and width."""
    decoded = cv2.imread(str(image))
    assert decoded is not None
    return decoded.shape[0], decoded.shape[1]


def found_by(model: Path, images: list[Path], imgsz: int, seed: int = 0) -> Floats:
    """(M, 8) ground truth of three classes: some of the detections, moved, and a few others."""
    g = np.random.default_rng(seed)
    sizes = [size_of(image) for image in images]
    rows = predict(open_model(model, "cpu"), images, sizes, imgsz).rows
    truth = []
    for number, (height, width) in enumerate(sizes):
        mine = rows[rows[:, 0] == number]
        right, bottom = mine[:, 2] + mine[:, 4], mine[:, 3] + mine[:, 5]
        # Of what it is cut off from, Ultralytics takes the whole.
        inside = (mine[:, 2:4] > 0).all(1) & (right < width) & (bottom < height)
        mine = mine[inside & (mine[:, 1] < 3) & (mine[:, 4:6] > 6).all(1)]
        for row in mine[:60]:
            moved = row[2:6] + row[[4, 5, 4, 5]] * g.normal(0, 0.02, 4)
            left, top = moved[:2].clip(0)
            w, h = min(moved[2], width - left), min(moved[3], height - top)
            truth.append([number, row[1], left, top, w, h, w * h, 0])
        truth.append([number, g.integers(3), 5, 5, 20, 20, 400, 0])
    return np.array(truth, float)


def write_yolo(root: Path, images: list[Path], truth: Floats) -> Path:
    """Label files beside `root/images/val`, and the data YAML; returns it."""
    (root / "labels" / "val").mkdir(parents=True)
    for number, image in enumerate(images):
        height, width = size_of(image)
        lines = [
            f"{row[1]:.0f} {(row[2] + row[4] / 2) / width} {(row[3] + row[5] / 2) / height} "
            f"{row[4] / width} {row[5] / height}"
            for row in truth[truth[:, 0] == number]
        ]
        label = root / "labels" / "val" / f"{image.stem}.txt"
        label.write_text("\n".join(lines))
    names = "".join(f"  {i}: {name}\n" for i, name in NAMES.items())
    yaml = root / "data.yaml"
    yaml.write_text(f"path: {root}\ntrain: images/val\nval: images/val\nnames:\n{names}")
    return yaml


def write_coco(path: Path, images: list[Path], truth: Floats, ids: dict[int, int]) -> Path:
    """A JSON with falling image ids, every ninth object a crowd and category ids as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, image in enumerate(images):
        height, width = size_of(image)
        entry = {"id": 1000 - number, "file_name": image.name, "height": height, "width": width}
        entries.append(entry)
    annotations = [
        {
            "id": i,
            "image_id": 1000 - int(row[0]),
            "category_id": ids[int(row[1])],
            "bbox": row[2:6].tolist(),
            "area": 0.7 * row[6],  # as of a mask, smaller than its box
            "iscrowd": int(i % 9 == 0),
        }
        for i, row in enumerate(truth, 1)
    ]
    categories = [{"id": ids[k], "name": name} for k, name in NAMES.items()]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path
