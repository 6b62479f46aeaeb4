"""Data as torchvision's detectors take them: YOLO's format and COCO's JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.twostage.config import TrainConfig
from afpn_yolo.twostage.data import Images, augmentation, class_names, digest_of, files, read


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures, left half black, with labels in YOLO's format and in COCO's."""
    for split in ("train", "val"):
        for name in ("a", "b"):
            image = np.zeros((40, 80, 3), np.uint8)
            image[:, 40:] = (255, 0, 0)  # blue, as OpenCV counts
            path = tmp_path / "images" / split / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
        labels = tmp_path / "labels" / split
        labels.mkdir(parents=True)
        (labels / "a.txt").write_text("1 0.75 0.5 0.5 0.5\n0 0.1 0.1 0.1 0\n")
        (labels / "b.txt").write_text("")
    (tmp_path / "data.yaml").write_text(
        f"path: {tmp_path}\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n"
    )
    categories = {9: "dog", 0: "animals", 4: "cat"}  # a root that no object has is among them
    coco: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 3, "file_name": "b.png"}],
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 9, "bbox": [40, 10, 40, 20]},
            {"id": 2, "image_id": 7, "category_id": 4, "bbox": [1, 1, 9, 9], "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 4, "bbox": [70, 30, 20, 20]},
        ],
    }
    (tmp_path / "train.json").write_text(json.dumps(coco))
    return tmp_path


def test_yolo(pictures: Path) -> None:
    config = TrainConfig(str(pictures / "data.yaml"))
    names = class_names(config)
    assert names == {0: "cat", 1: "dog"}
    images = Images(read(config, "train", names))
    assert len(images) == 2
    image, target = images[0]
    assert image.shape == (3, 40, 80)
    assert image.dtype == torch.float32
    assert image[:, 0, -1].tolist() == [0, 0, 1]  # red first
    assert target["boxes"].tolist() == [[40, 10, 80, 30]]  # the one without area is left out
    assert target["labels"].tolist() == [2]  # 0 is the background
    assert images[1][1]["boxes"].shape == (0, 4)
    assert len(Images(read(config, "train", names), empty=False)) == 1


def test_coco(pictures: Path) -> None:
    file = str(pictures / "train.json")
    config = TrainConfig(file, file, str(pictures / "images" / "train"))
    names = class_names(config)
    assert names == {0: "cat", 1: "dog"}  # by id
    data_set = read(config, "train", names)
    assert len(data_set.truth) == 3
    images = Images(data_set)
    target = images[images.places.tolist().index(data_set.ids.index(7))][1]
    # A crowd is nothing to learn from; a box ends at the picture's edge.
    assert target["boxes"].tolist() == [[40, 10, 80, 30], [70, 30, 80, 40]]
    assert target["labels"].tolist() == [2, 1]


def test_augmentation_moves_the_boxes(pictures: Path) -> None:
    config = TrainConfig(str(pictures / "data.yaml"))
    data_set = read(config, "train", class_names(config))
    image, target = Images(data_set, augmentation(flip=1))[0]
    assert image[:, 0, 0].tolist() == [0, 0, 1]
    assert target["boxes"].tolist() == [[0, 10, 40, 30]]
    images = Images(data_set, augmentation(0, 0.3), empty=False)
    torch.manual_seed(0)
    items = [images[0] for _ in range(30)]
    sizes = {tuple(image.shape[1:]) for image, _ in items}
    assert len(sizes) > 5
    assert all(h >= 12 and w >= 24 for h, w in sizes)
    for image, target in items:
        blue = image[2] > 0.5
        for left, top, right, bottom in target["boxes"].int().tolist():
            assert blue[top:bottom, left:right].all()


def test_files_of_the_splits(pictures: Path) -> None:
    (pictures / "annotations").mkdir()
    config = TrainConfig(str(pictures))
    with pytest.raises(ValueError, match="instances_train2017"):
        files(config)
    for split in ("train", "val"):
        (pictures / "annotations" / f"instances_{split}2017.json").touch()
    assert files(config)["val"][0].endswith("instances_val2017.json")
    yaml, file = str(pictures / "data.yaml"), str(pictures / "train.json")
    for config in (TrainConfig(file), TrainConfig(yaml, file)):
        with pytest.raises(ValueError, match="--val-json"):
            files(config)
    with pytest.raises(EvaluationError, match="missing"):
        class_names(TrainConfig("missing.json", file))


def test_the_digest_of_a_json(pictures: Path) -> None:
    file, images = pictures / "train.json", pictures / "images" / "train"
    config = TrainConfig(str(file), str(file), str(images), str(images))
    digests = [digest_of(config)]
    assert digest_of(config) == digests[0]
    file.write_text(file.read_text().replace("70, 30, 20, 20", "70, 30, 20, 21"))
    digests.append(digest_of(config))
    (images / "a.png").write_bytes(b"1234")
    digests.append(digest_of(config))
    assert len({*digests}) == 3
