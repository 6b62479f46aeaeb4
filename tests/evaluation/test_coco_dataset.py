"""COCO's JSON as annotation tools write it: read where it can be meant in one way, else refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.evaluation.datasets import DataSet
from afpn_yolo.evaluation.evaluate import read_data
from afpn_yolo.upstream.data import coco_category_ids

NAMES = {0: "red", 1: "blue"}
PLAIN = """{
 "images": [
  {"id": 1, "file_name": "a.png", "width": 64, "height": 64},
  {"id": 2, "file_name": "b.png", "width": 64, "height": 64}
 ],
 "annotations": [
  {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 20, 16], "area": 320, "iscrowd": 0},
  {"id": 2, "image_id": 2, "category_id": 2, "bbox": [10, 8, 30, 30], "area": 900, "iscrowd": 0}
 ],
 "categories": [{"id": 1, "name": "blue"}, {"id": 2, "name": "red"}]
}"""
TRUTH = [[0, 1, 4, 4, 20, 16, 320, 0], [1, 0, 10, 8, 30, 30, 900, 0]]


def read(
    folder: Path,
    content: dict[str, Any] | bytes,
    images: tuple[str, ...] = ("a.png", "b.png"),
    names: dict[int, str] = NAMES,
) -> DataSet:
    """Read a JSON with images of 64 x 64 pixels beside it."""
    for name in images:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(folder / name)
    path = folder / "set.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_data(path, names)


def changed(**fields: list[Any]) -> dict[str, Any]:
    """PLAIN with other fields, `images_id` a list of one value for each entry; ... removes it."""
    content: dict[str, Any] = json.loads(PLAIN)
    for key, values in fields.items():
        table, _, field = key.partition("_")
        for entry, value in zip(content[table], values, strict=True):
            entry[field] = value
            if value is ...:
                del entry[field]
    return content


@pytest.mark.parametrize(
    "content",
    [
        changed(),
        changed(images_id=["1", "2"]),  # and numbers in the annotations
        changed(images_id=[1.0, 2.0], annotations_image_id=["1.0", "2"]),
        changed(categories_id=[1.0, "2"], annotations_category_id=["1", 2]),
        changed(images_width=[0, None], images_height=["unknown", -1]),
        changed(images_width=["64", 64.0], images_height=[..., "64"]),
        changed(annotations_bbox=[["4", "4.0", "20", 16], [10, 8, "30", "30"]]),
        changed(annotations_area=["", "900"]),
        changed(annotations_iscrowd=[False, "0"]),
        changed(annotations_iscrowd=[..., None]),
        changed(annotations_segmentation=[[], {"counts": "abc", "size": [64, 64]}]),
        changed(
            annotations_bbox=[None, ...],
            annotations_segmentation=[
                [[4, 4, 24, 5, 14, 20], ["5", 6, 7, 8, 9, "19"]],  # two parts of one object
                [10, 8, 40, 38, 10, 38],
            ],
        ),
        changed(images_file_name=["./a.png", "b.png"]),
        changed(images_file_name=["C:\\data\\a.png", "/elsewhere/images/b.png"]),
    ],
)
def test_what_can_be_meant_in_one_way_is_read(tmp_path: Path, content: dict[str, Any]) -> None:
    data = read(tmp_path, content)
    assert data.truth.tolist() == TRUTH
    assert not data.damaged


def test_more_entries_than_are_needed(tmp_path: Path) -> None:
    content = changed()
    content["categories"] += [{"id": 0, "name": "things"}, {"id": 9, "name": "green"}]  # unused
    content["categories"] += [{"id": 7, "name": "red"}, content["categories"][0]]  # twice
    content["images"] += [{"id": 5, "file_name": "c.png"}, content["images"][0]]
    data = read(tmp_path, content, ("a.png", "b.png", "c.png"))
    assert data.truth.tolist() == TRUTH
    assert [path.name for path in data.images] == ["a.png", "b.png", "c.png"]
    assert (data.ids, data.categories) == ([1, 2, 5], [2, 1])


def test_classes_may_be_integers_and_ids_words(tmp_path: Path) -> None:
    ids = ["007", "b-2"]
    content = changed(images_id=ids, annotations_image_id=ids, categories_name=[1, 0])
    data = read(tmp_path, content, names={0: "0", 1: "1"})
    assert data.truth.tolist() == TRUTH
    assert data.ids == ids


def test_areas_that_are_nowhere_are_those_of_boxes(tmp_path: Path) -> None:
    assert read(tmp_path, changed()).area == "COCO's annotations"
    data = read(tmp_path, changed(annotations_area=[None, ...]))
    assert data.truth.tolist() == TRUTH
    assert data.area == "boxes of the annotations"


@pytest.mark.parametrize("name", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_encodings_with_and_without_a_mark(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, PLAIN.encode(name)).truth.tolist() == TRUTH


@pytest.mark.parametrize(
    ("file", "images"),
    [
        ("annotations/instances_val2017.json", "images/val2017"),
        ("annotations/instances_val2017.json", "val2017"),
        ("set.json", ""),
        ("set.json", "set"),
        ("set.json", "elsewhere"),
    ],
)
def test_images_are_found_where_coco_keeps_them(tmp_path: Path, file: str, images: str) -> None:
    path, folder = tmp_path / file, tmp_path / images
    for parent in (path.parent, folder):
        parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PLAIN)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64)).save(folder / name)
    if images == "elsewhere":
        with pytest.raises(EvaluationError, match="--images"):
            read_data(path, NAMES)
    data = read_data(path, NAMES, images=folder if images == "elsewhere" else None)
    assert data.images == [folder / "a.png", folder / "b.png"]
    assert data.truth.tolist() == TRUTH


def test_cocos_own_ids_serve_a_model_that_lost_its_names(tmp_path: Path) -> None:
    content = changed(annotations_category_id=[13, 90])
    ids = coco_category_ids()
    content["categories"] = [{"id": number, "name": f"name {number}"} for number in ids]
    data = read(tmp_path, content, names={k: f"class{k}" for k in range(80)})
    assert data.truth[:, 1].tolist() == [11, 79]
    assert data.categories == ids


def test_backslashes_are_folders_below(tmp_path: Path) -> None:
    content = changed(images_file_name=["x\\a.png", "y\\a.png"])
    data = read(tmp_path, content, ("x/a.png", "y/a.png"))
    assert data.images == [tmp_path / "x" / "a.png", tmp_path / "y" / "a.png"]
    assert data.truth.tolist() == TRUTH


@pytest.mark.parametrize("sizes", [[64, 63], ["64", "63"]])
def test_a_size_that_contradicts_the_image_is_damage(tmp_path: Path, sizes: list[object]) -> None:
    data = read(tmp_path, changed(images_width=sizes))
    assert [path.name for path in data.damaged] == ["b.png"]
    assert data.truth.tolist() == TRUTH[:1]


@pytest.mark.parametrize(
    "content",
    [
        changed(images_file_name=["a.png", "./a.png"]),  # one file has two ids
        changed(images_id=[1, "1"]),  # one id has two files
        changed(categories_id=[1, "1"]),
        changed(categories_name=["red", "red"]),
        changed(categories_name=["red", "green"]),
        changed(categories_name=["red", []]),
        changed(annotations_image_id=[1, 3]),
        changed(annotations_image_id=[1, None]),
        changed(annotations_category_id=[1, 3]),
        changed(images_id=[1, [2]]),
        changed(images_id=[1, True]),
        changed(images_file_name=["a.png", None]),
        *(
            changed(annotations_bbox=[[4, 4, 20, 16], box])
            for box in ([1, 2, None, 4], [1], [], ..., [0, 0, -1, 4])
        ),
        *(
            changed(annotations_bbox=[None, ...], annotations_segmentation=[outline, ...])
            for outline in ([[4, 4, 24, 20]], [[4, 4, 24, 20, 9]], [[1, 2, 3, 4, 5, None]], [[], 5])
        ),
        changed(annotations_iscrowd=[0, 2]),
        changed(annotations_area=[0, "large"]),
        {"images": [], "annotations": [], "categories": []},
        {**changed(), "annotations": None},
    ],
)
def test_what_can_be_meant_in_two_ways_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    with pytest.raises(EvaluationError, match=r"^\S+set\.json"):
        read(tmp_path, content)


def test_cocos_val2017_is_judged_by_cocos_annotations(tmp_path: Path) -> None:
    """COCO's own layout: labels without crowds, and the annotations."""
    for name, line in (("a", "1 0.2 0.2 0.3 0.25"), ("b", "0 0.4 0.4 0.5 0.5")):
        for kind in ("images", "labels"):
            (tmp_path / kind / "val2017").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(tmp_path / "images" / "val2017" / f"{name}.png")
        (tmp_path / "labels" / "val2017" / f"{name}.txt").write_text(line)
    split = tmp_path / "val2017.txt"
    split.write_text("./images/val2017/a.png\n./images/val2017/b.png\n")
    yaml = tmp_path / "my.yaml"
    splits = {"train": split.name, "val": split.name}
    yaml.write_text(json.dumps({"path": str(tmp_path), "names": [*NAMES.values()], **splits}))
    assert read_data(yaml, NAMES).area == "boxes of the YOLO labels"
    content = changed(annotations_area=[200.5, 700], annotations_iscrowd=[0, 1])
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    data = read_data(yaml, NAMES)
    assert data.area == "COCO's annotations"
    assert data.truth[:, 6:].tolist() == [[200.5, 0], [700, 1]]
    split.write_text("./images/val2017/b.png\n")  # a part of it
    data = read_data(yaml, NAMES)
    assert [path.name for path in data.images] == ["b.png"]
    assert data.truth.tolist() == [[0, 0, 10, 8, 30, 30, 700, 1]]
