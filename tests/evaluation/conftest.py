"""A data set that an untrained model does well on: labels are what it detects, then disturbed."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from afpn_yolo.evaluation.coco import Floats
from afpn_yolo.upstream.loading import open_model
from afpn_yolo.upstream.validator import predict
from tests.lively import NAMES, PHOTOGRAPHS, photograph, save_lively

SIDE = 160
COCO_IDS = {0: 90, 1: 1, 2: 13, 3: 44}  # neither from 0 nor in order
SIZES = [(320, 240), (200, 320), (280, 280)] * 8  # heights and widths of the images


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


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("evaluation")
    root = folder / "set"
    case = Case(
        save_lively("", folder / "model.pt", modest=True),
        root / "data.yaml",
        root / "annotations" / "instances_val.json",
    )
    for path in (case.images, root / "labels" / "val", case.json.parent):
        path.mkdir(parents=True)
    g = np.random.default_rng(0)
    images = []
    for i, (height, width) in enumerate(SIZES):
        whole = photograph(PHOTOGRAPHS[i % 2], 560, 560)
        top, left = g.integers(560 - height), g.integers(560 - width)
        images.append(case.images / f"{i:03d}.png")
        assert cv2.imwrite(str(images[-1]), whole[top : top + height, left : left + width])
    truth = disturbed(predict(open_model(case.model, "cpu"), images, SIZES, SIDE).rows)
    write_yolo(case, images, truth)
    write_coco(case, images, truth)
    return case


@pytest.fixture
def copy(case: Case, tmp_path: Path) -> Case:
    """The case with a data set of its own, to be spoilt."""
    root = tmp_path / "set"
    shutil.copytree(case.yaml.parent, root, ignore=shutil.ignore_patterns("*.cache"))
    yaml = root / "data.yaml"
    yaml.write_text(yaml.read_text().replace(str(case.yaml.parent), str(root)))
    return Case(case.model, yaml, root / "annotations" / case.json.name)


def disturbed(detections: Floats) -> Floats:
    """(M, 8) ground truth of three classes: some of the detections, moved, and a few others."""
    g = np.random.default_rng(0)
    tables: list[Floats] = []
    for number, (height, width) in enumerate(SIZES):
        rows = detections[detections[:, 0] == number]
        # Of what it is cut off from, Ultralytics takes the whole.
        inside = (rows[:, 2:4] > 0) & (rows[:, 2:4] + rows[:, 4:6] < [width, height])
        large = (rows[:, 4:6] > 6).all(1)
        rows = rows[inside.all(1) & large & (rows[:, 1] < 3)][:60]
        moved = rows[:, 2:6] + rows[:, [4, 5, 4, 5]] * g.normal(0, 0.02, (len(rows), 4))
        corner = moved[:, :2].clip(0)
        sides = np.minimum(moved[:, 2:], [width, height] - corner)
        columns = [rows[:, :2], corner, sides, sides.prod(1), np.zeros(len(rows))]
        tables.append(np.column_stack(columns))
        tables.append(np.array([[number, g.integers(3), 5, 5, 20, 20, 400, 0]], float))
    return np.concatenate(tables)


def write_yolo(case: Case, images: list[Path], truth: Floats) -> None:
    root = case.yaml.parent
    for number, (image, (height, width)) in enumerate(zip(images, SIZES, strict=True)):
        lines = [
            f"{row[1]:.0f} {(row[2] + row[4] / 2) / width} {(row[3] + row[5] / 2) / height} "
            f"{row[4] / width} {row[5] / height}\n"
            for row in truth[truth[:, 0] == number]
        ]
        (root / "labels" / "val" / f"{image.stem}.txt").write_text("".join(lines))
    splits = {"path": str(root), "train": "images/val", "val": "images/val"}
    case.yaml.write_text(json.dumps({**splits, "names": [*NAMES.values()]}))  # JSON is YAML


def write_coco(case: Case, images: list[Path], truth: Floats) -> None:
    """A JSON with falling image ids, and every ninth object a crowd."""
    entries = [
        {"id": 1000 - number, "file_name": image.name, "height": height, "width": width}
        for number, (image, (height, width)) in enumerate(zip(images, SIZES, strict=True))
    ]
    annotations = [
        {
            "id": i,
            "image_id": 1000 - int(row[0]),
            "category_id": COCO_IDS[int(row[1])],
            "bbox": row[2:6].tolist(),
            "area": 0.7 * row[6],  # as of a mask, smaller than its box
            "iscrowd": int(i % 9 == 0),
        }
        for i, row in enumerate(truth, 1)
    ]
    categories = [{"id": COCO_IDS[k], "name": name} for k, name in NAMES.items()]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    case.json.write_text(json.dumps(content))
