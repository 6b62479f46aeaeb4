"""Reading data sets in YOLO's format, with what makes them hard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.evaluation.datasets import DataSet
from afpn_yolo.evaluation.evaluate import read_data

NAMES = {0: "cat", 1: "dog"}
WIDTH, HEIGHT = 200, 100


def picture(path: Path, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(path, exif=exif)


def yolo(root: Path, labels: dict[str, str | None], val: object = "images/val") -> Path:
    """A data YAML; images by name, None for one without a label file."""
    for name, text in labels.items():
        picture(root / "images" / "val" / name)
        if text is not None:
            label = (root / "labels" / "val" / name).with_suffix(".txt")
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(text)
    yaml = root / "data.yaml"
    content = {"path": str(root), "train": val, "val": val, "names": [*NAMES.values()]}
    yaml.write_text(json.dumps(content))  # JSON is YAML
    return yaml


def read(data: Path, **options: Any) -> DataSet:
    return read_data(data, NAMES, **options)


def row(place: int, number: int, left: int, top: int, width: int, height: int) -> list[float]:
    return [place, number, left, top, width, height, width * height, 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 0.5 0.5 0.2 0.4\n", [row(0, 1, 80, 30, 40, 40)]),
        ("0 0.1 0.2 0.3 0.2 0.3 0.6 0.2 0.5\n", [row(0, 0, 20, 20, 40, 40)]),  # a polygon
        ("1 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4\n", [row(0, 1, 80, 30, 40, 40)]),  # twice the same
        ("\ufeff1 0.5 0.5 0.2 0.4", [row(0, 1, 80, 30, 40, 40)]),  # as Windows' editor saves it
        ("", []),
    ],
)
def test_labels_become_boxes_in_pixels(tmp_path: Path, text: str, expected: list[Any]) -> None:
    data = read(yolo(tmp_path, {"a.jpg": text}))
    assert data.truth == pytest.approx(np.array(expected, float).reshape(-1, 8))
    assert (data.names, data.sizes) == (NAMES, [(HEIGHT, WIDTH)])


@pytest.mark.parametrize(
    "line",
    [
        "2 0.5 0.5 0.2 0.4",  # there are two classes
        "0.5 0.5 0.5 0.2 0.4",
        "0 0.5 0.5 0.2",
        "0 0.5 0.5 0.2 0.4 0.9",
        "0 80 30 40 40",
        "0 0.5 0.5 -0.005 0.4",
        "cat 0.5 0.5 0.2 0.4",
        "1 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3",  # a polygon beside a box
    ],
)
def test_an_image_with_a_wrong_label_is_left_out_as_by_ultralytics(
    tmp_path: Path, line: str
) -> None:
    data = read(yolo(tmp_path, {"a.jpg": f"0 0.5 0.5 0.2 0.4\n{line}\n", "b.jpg": "0 0.5 0.5 1 1"}))
    assert [path.name for path in data.damaged] == ["a.jpg"]
    assert [path.name for path in data.images] == ["b.jpg"]
    assert data.truth == pytest.approx(np.array([row(0, 0, 0, 0, 200, 100)]))


def test_keypoints_behind_a_box_are_skipped(tmp_path: Path) -> None:
    yaml = yolo(tmp_path, {"a.jpg": "1 0.5 0.5 0.2 0.4 0.1 0.1 2 0.9 0.9 1"})
    yaml.write_text(json.dumps({**json.loads(yaml.read_text()), "kpt_shape": [2, 3]}))
    assert read(yaml).truth == pytest.approx(np.array([row(0, 1, 80, 30, 40, 40)]))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photographs_on_their_side_are_upright(tmp_path: Path, orientation: int) -> None:
    yaml = yolo(tmp_path, {"a.jpg": "1 0.5 0.5 0.2 0.4"})
    picture(tmp_path / "images" / "val" / "a.jpg", orientation)
    data = read(yaml)
    decoded = cv2.imread(str(data.images[0]))
    assert decoded is not None
    assert data.sizes == [decoded.shape[:2]]
    assert data.sizes == [(HEIGHT, WIDTH) if orientation == 3 else (WIDTH, HEIGHT)]
    expected = (80, 30, 40, 40) if orientation == 3 else (40, 60, 20, 80)
    assert data.truth[:, 2:6] == pytest.approx(np.array([expected], float))


def test_an_image_without_a_label_file_is_background(tmp_path: Path) -> None:
    data = read(yolo(tmp_path, {"a.jpg": None, "b.jpg": "0 0.5 0.5 1 1"}))
    assert len(data.images) == 2
    assert data.truth == pytest.approx(np.array([row(1, 0, 0, 0, 200, 100)]))


def test_split_as_list_of_folders_and_as_list_of_files(tmp_path: Path) -> None:
    yaml = yolo(tmp_path, {"a.jpg": "", "sub/b.jpg": "", ".hidden.jpg": ""}, ["images/val", "more"])
    picture(tmp_path / "more" / "c.PNG")
    assert [path.name for path in read(yaml).images] == ["a.jpg", "b.jpg", "c.PNG"]
    (tmp_path / "val.txt").write_text("./images/val/sub/b.jpg\n./images/val/a.jpg\n")
    yaml = yolo(tmp_path, {}, "val.txt")
    assert [path.name for path in read(yaml).images] == ["a.jpg", "b.jpg"]


def test_mistakes_in_a_data_yaml(tmp_path: Path) -> None:
    yaml = yolo(tmp_path, {"a.jpg": "0 0.5 0.5 1 1"})
    with pytest.raises(EvaluationError, match="--images"):
        read(yaml, images=tmp_path)
    (tmp_path / "images" / "val" / "a.jpg").unlink()
    with pytest.raises(EvaluationError, match="empty"):
        read(yaml)


def test_a_jpeg_that_breaks_off_is_damaged(tmp_path: Path) -> None:
    yaml = yolo(tmp_path, {"a.jpg": "0 0.5 0.5 1 1", "b.jpg": "1 0.5 0.5 1 1", "c.jpg": ""})
    folder = tmp_path / "images" / "val"
    whole = (folder / "a.jpg").read_bytes()
    (folder / "a.jpg").write_bytes(whole[:-200])
    (folder / "b.jpg").write_bytes(whole + b"a camera's own data")  # odd, but whole
    data = read(yaml)
    assert [path.name for path in data.damaged] == ["a.jpg"]
    assert "truncated" in data.damaged[folder / "a.jpg"]
    assert [path.name for path in data.images] == ["b.jpg", "c.jpg"]
    assert data.truth == pytest.approx(np.array([row(0, 1, 0, 0, 200, 100)]))
