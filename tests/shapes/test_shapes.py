"""Tests of the generated shapes data set."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ultralytics.utils import YAML

from afpn_yolo import shapes
from afpn_yolo.shapes import dataset
from afpn_yolo.shapes import scene as drawing
from afpn_yolo.shapes.dataset import labels

DATA = Path(__file__).parents[2] / "data" / "shapes.yaml"


def contents(root: Path) -> dict[str, bytes]:
    """Every file under a folder by its relative path."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def scene(split: str, index: int) -> drawing.Layout:
    """Layout of one picture of the default set."""
    return drawing.layout(dataset.streams(0, split, index)[0], 320)


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


def test_classes_sizes_and_counts_are_spread() -> None:
    # A quarter of the default pictures, from both splits, is enough for the shares to settle.
    places = [("train", i) for i in range(0, 320, 4)] + [("val", i) for i in range(0, 80, 4)]
    pictures = [labels(scene(*place)) for place in places]
    boxes = [label for picture in pictures for label in picture]
    sides = np.sqrt([box[2] * box[3] for _, box in boxes])
    bands = np.digitize(sides, [50, 95])
    assert (np.bincount(bands, minlength=3) >= 0.15 * len(boxes)).all()
    assert sides.min() >= 36  # 21 at 192 pixels, where smaller ones can't be told apart
    classes = Counter(number for number, _ in boxes)
    assert all(classes[k] >= 0.15 * len(boxes) for k in range(len(shapes.CLASSES)))
    assert {len(picture) for picture in pictures} == set(range(1, 7))


@pytest.mark.parametrize("index", range(4))
def test_boxes_are_tight_around_what_is_drawn(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the pixels of a label's box differ between pictures with and without the solid."""
    monkeypatch.setattr(drawing, "_shade", lambda *args: None)
    monkeypatch.setattr(drawing, "_develop", lambda rng, picture: picture)
    pixels = dataset.streams(0, "val", index)[1]
    state = pixels.bit_generator.state
    whole = scene("val", index)
    for k, item in enumerate(whole.items):
        alone = whole._replace(items=(item,))
        views = []
        for layout in (alone, whole._replace(items=())):
            pixels.bit_generator.state = state
            views.append(drawing.render(pixels, layout))
        rows, cols = np.nonzero(abs(views[0] - views[1]).max(2) > 0.04)
        drawn = np.array([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1])
        _, (x, y, w, h) = labels(alone)[0]
        box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        assert abs(drawn - box).max() <= 2, (k, drawn, box)  # the soft edge takes up to two pixels


def test_solids_overlap_little() -> None:
    for index in range(12):
        boxes = [item.box for item in scene("train", index).items]
        pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
        assert all(drawing.covered(a, b) <= drawing.OVERLAP for a, b in pairs)


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
