"""The generated shapes: pictures, whole sets, and what Ultralytics reads of their labels."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy import ndimage
from ultralytics.cfg import get_cfg
from ultralytics.data.build import build_yolo_dataset
from ultralytics.data.utils import check_det_dataset
from ultralytics.utils import YAML

from afpn_yolo import shapes
from afpn_yolo.cli.__main__ import main
from afpn_yolo.shapes import dataset
from afpn_yolo.shapes import scene as drawing
from afpn_yolo.shapes.dataset import POINTS, labels

DATA = Path(__file__).parents[2] / "data" / "shapes.yaml"
SIDE, COUNT = 320, 6


def contents(root: Path) -> dict[str, bytes]:
    """Every file under a folder by its relative path."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@cache
def layout(split: str, index: int) -> drawing.Layout:
    """Of one picture of the default set."""
    return drawing.layout(dataset.streams(0, split, index)[0], SIDE)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of four training and two validation pictures."""
    return shapes.generate(tmp_path_factory.mktemp("sets") / "small", train=4, val=2)


def test_pictures_depend_on_seed_and_split_and_not_on_the_counts(
    small: Path, tmp_path: Path
) -> None:
    first = contents(small)
    again = contents(shapes.generate(tmp_path / "again", train=2, val=3))
    other = contents(shapes.generate(tmp_path / "other", train=1, val=1, seed=1))
    common = (first.keys() & again.keys()) - {dataset.MARKER}
    assert len(common) == 9
    assert all(again[name] == first[name] for name in common)
    assert len(first) == 2 * 6 + 2
    pictures = [text for files in (first, other) for name, text in files.items() if "jpg" in name]
    assert len({*pictures}) == len(pictures) == 8


def test_classes_sizes_and_counts_are_spread_and_solids_overlap_little() -> None:
    # A quarter of the default pictures, from both splits, is enough for the shares to settle.
    places = [("train", i) for i in range(0, 320, 4)] + [("val", i) for i in range(0, 80, 4)]
    layouts = [layout(*place) for place in places]
    pictures = [labels(scene) for scene in layouts]
    boxes = [label for picture in pictures for label in picture]
    sides = np.sqrt([box[2] * box[3] for _, box in boxes])
    bands = np.digitize(sides, [50, 95])
    assert (np.bincount(bands, minlength=3) >= 0.15 * len(boxes)).all()
    assert sides.min() >= 36  # 21 at 192 pixels, where smaller ones can't be told apart
    classes = Counter(number for number, _ in boxes)
    assert all(classes[k] >= 0.15 * len(boxes) for k in range(len(shapes.CLASSES)))
    assert {len(picture) for picture in pictures} == set(range(1, 7))
    pairs = [pair for scene in layouts for pair in combinations(scene.items, 2)]
    assert all(drawing.covered(a.box, b.box) <= drawing.OVERLAP for a, b in pairs)


@pytest.mark.parametrize("index", range(4))
def test_boxes_are_tight_around_what_is_drawn(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the pixels of a label's box differ between pictures with and without the solid."""
    monkeypatch.setattr(drawing, "_shade", lambda *args: None)
    monkeypatch.setattr(drawing, "_develop", lambda rng, picture: picture)
    pixels = dataset.streams(0, "val", index)[1]
    state = pixels.bit_generator.state
    whole = layout("val", index)
    for k, item in enumerate(whole.items):
        alone = whole._replace(items=(item,))
        views = []
        for shown in (alone, whole._replace(items=())):
            pixels.bit_generator.state = state
            views.append(drawing.render(pixels, shown))
        rows, cols = np.nonzero(abs(views[0] - views[1]).max(2) > 0.04)
        drawn = np.array([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1])
        _, (x, y, w, h) = labels(alone)[0]
        box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        assert abs(drawn - box).max() <= 2, (k, drawn, box)  # the soft edge takes up to two pixels


def test_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = dataset._write

    def stop(root: Path, split: str, *rest: Any) -> None:
        if split == "val":
            raise KeyboardInterrupt
        write(root, split, *rest)

    monkeypatch.setattr(dataset, "_write", stop)
    with pytest.raises(KeyboardInterrupt):
        shapes.generate(tmp_path / "set", train=1, val=1)
    assert list(tmp_path.iterdir()) == []


def test_first_of_two_processes_wins(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    write = dataset._write

    def be_overtaken(part: Path, split: str, *rest: Any) -> None:
        write(part, split, *rest)
        if split == "val":
            monkeypatch.setattr(dataset, "_write", write)
            shapes.generate(root, train=1, val=1)
            (root / "first").touch()

    root.mkdir()  # an empty folder is used
    monkeypatch.setattr(dataset, "_write", be_overtaken)
    assert shapes.generate(root, train=1, val=1) == root
    assert (root / "first").exists()
    assert os.listdir(tmp_path) == ["set"]


def test_a_complete_set_stays_and_any_other_folder_is_refused(small: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    assert shapes.generate(str(small), train=4, val=2) == small
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="something else"):
        shapes.generate(tmp_path)
    for train, task in ((5, "detect"), (4, "pose")):
        with pytest.raises(FileExistsError, match="made with"):
            shapes.generate(small, train=train, val=2, task=task)


@pytest.mark.parametrize(
    "argument",
    [{"train": 0}, {"val": -3}, {"seed": -1}, {"size": 100}, {"size": 96}, {"task": "seg"}],
)
def test_bad_arguments(argument: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(argument))} must"):
        shapes.generate(tmp_path / "set", **argument)
    assert list(tmp_path.iterdir()) == []


def test_data_yaml_makes_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = YAML.load(DATA)
    assert tuple(data["names"][k] for k in range(len(data["names"]))) == shapes.CLASSES
    # Empty files stand in for the 400 pictures, whose drawing the other tests cover.
    monkeypatch.setattr(
        dataset, "_write", lambda root, split, i, *_: (root / f"images/{split}/{i}.jpg").touch()
    )
    data["path"] = tmp_path / data["path"]
    exec(data["download"], {"yaml": data})
    counts = [len(os.listdir(data["path"] / data[split])) for split in ("train", "val")]
    assert counts == [320, 80]


def smallest(cells: np.ndarray) -> float:
    """Area of the smallest rectangle around cells (n, 2) among half degrees."""
    turns = np.radians(np.arange(0, 90, 0.5))
    axes = np.stack([np.cos(turns), np.sin(turns)])
    along, across = cells @ axes, cells @ np.stack([-axes[1], axes[0]])
    return float((np.ptp(along, 0) * np.ptp(across, 0)).min())


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_what_ultralytics_reads_is_what_is_drawn(task: str, tmp_path: Path) -> None:
    words = ["shapes", str(tmp_path / "set"), "--task", task, "--train", str(COUNT), "--val", "1"]
    assert main(words) == 0
    data = check_det_dataset(str(tmp_path / "set" / "data.yaml"), autodownload=False)
    options = get_cfg(overrides={"task": task, "imgsz": SIDE, "mask_ratio": 1})
    pictures = build_yolo_dataset(options, data["train"], 1, data, mode="val", rect=False)
    assert [Path(path).stem for path in pictures.im_files] == [f"{i:05d}" for i in range(COUNT)]
    for index in range(COUNT):
        drawn, label, sample = layout("train", index), pictures.labels[index], pictures[index]
        assert len(sample["cls"]) == len(label["cls"]) == len(drawn.items)
        for k, (item, seen) in enumerate(zip(drawn.items, drawing.visible(drawn), strict=True)):
            assert data["names"][int(label["cls"][k, 0])] == item.view.name
            rows, cols = np.nonzero(seen)
            cells = np.stack([cols, rows], 1)
            low, high = cells.min(0), cells.max(0)
            x, y, w, h = (float(v) * SIDE for v in label["bboxes"][k])
            if task != "obb":
                assert np.allclose([x - w / 2, y - h / 2], low, atol=1)
                assert np.allclose([x + w / 2, y + h / 2], high, atol=1)
            if task == "segment":
                polygon = (label["segments"][k] * SIDE * 2).round().astype(np.int32)
                area = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
                cv2.fillPoly(area, [polygon], 1)
                whole = ndimage.binary_fill_holes(seen).repeat(2, 0).repeat(2, 1)
                assert (whole & (area > 0)).sum() / (whole | (area > 0)).sum() > 0.93
            if task == "pose":
                points, flags = label["keypoints"][k, :, :2] * SIDE, label["keypoints"][k, :, 2]
                reach = np.array([points[0, 1], points[1, 0], points[2, 1], points[3, 0]])
                ends = np.array([low[1], high[0], high[1], low[0]])
                assert (flags == np.where(abs(reach - ends) <= 1, 2, 1)).all()
            if task == "obb":
                x, y, w, h, angle = (float(v) for v in sample["bboxes"][k])
                w, h = w * SIDE, h * SIDE
                turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
                inside = (cells - SIDE * np.array([x, y])) @ turn
                assert abs(inside).max(0) == pytest.approx([w / 2, h / 2], abs=1.5)
                assert w * h <= 1.1 * smallest(cells) + w + h
                if item.view.name == "ball":
                    assert angle % (np.pi / 2) == pytest.approx(0, abs=1e-3)


def pose(*items: drawing.Item) -> list[float]:
    """Label of the first of these."""
    return labels(drawing.Layout(SIDE, -100.0, 0.6, items), "pose")[0][1]


def test_keypoints_of_what_is_partly_hidden() -> None:
    """Are where the whole silhouette ends, and flagged as hidden."""
    (far,) = [item for item in layout("train", 0).items if item.view.name == "box"]
    high, wide = far.mask.shape
    wall = replace(far, mask=np.ones((high, wide // 2), bool))  # before its left half
    alone, behind = pose(far), pose(far, wall)
    assert behind[4::3] == alone[4::3]
    assert behind[5::3] == alone[5::3]
    assert alone[6::3] == [2, 2, 2, 2]
    seen = dict(zip(POINTS, behind[6::3], strict=True))
    assert (seen["right"], seen["left"]) == (2, 1)
    assert behind[2] == pytest.approx(alone[2] / 2, abs=1)


def test_a_mirror_exchanges_what_flip_idx_says(tmp_path: Path) -> None:
    root = dataset.generate(tmp_path / "set", train=1, val=1, task="pose")
    data = check_det_dataset(str(root / "data.yaml"))
    item = layout("train", 0).items[0]
    wide = item.mask.shape[1]
    one, other = pose(item), pose(replace(item, mask=item.mask[:, ::-1]))
    points, turned = (np.array(v[4:]).reshape(data["kpt_shape"]) for v in (one, other))
    expected = points[data["flip_idx"]]
    expected[:, 0] = 2 * item.box[0] + wide - expected[:, 0]
    assert np.allclose(turned, expected, atol=0.51)
