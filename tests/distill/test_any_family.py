"""Weights to start from, in unlike families and tasks: the teacher's model with another neck."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.cli import distill as command
from afpn_yolo.upstream.models import save_checkpoint
from tests.neck import randomise
from tests.stock_models import without_weights

SHORT = ("--steps", "2", "--batch", "2", "--imgsz", "64")


def afpn_distill(*words: object) -> int:
    """`afpn distill WORDS` in this process."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([*map(str, words)]))


def teacher(stock: str, path: Path) -> Any:
    """Save a stock model that answers differently to different images, and return its network."""
    torch.manual_seed(1)
    model: Any = YOLO(stock)
    randomise(model.model)
    model.model.names = {i: f"thing {i}" for i in model.model.names}
    model.save(path)
    return YOLO(path).model.float()


def assert_equal(module: nn.Module, expected: nn.Module) -> None:
    """Both have the same tensors."""
    tensors = module.state_dict()
    assert tensors.keys() == expected.state_dict().keys()
    assert all(torch.equal(tensors[name], x) for name, x in expected.state_dict().items())


@pytest.fixture
def images(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images to learn from; few of them are evaluated, and results go to the test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("afpn_yolo.distill.trainer.EVALUATED", 4)
    return small_data.parent / "set" / "images" / "train"


@pytest.mark.parametrize(
    ("stock", "words", "written"),
    [
        ("yolo11n-pose.yaml", ("--neck", "afpn"), "yolo11n-afpn-pose.pt"),
        ("yolo26n-p2.yaml", ("-o", "mine.pt"), "mine.pt"),
        ("yolov8n-obb.yaml", (), "yolov8n-afpn-hybrid-obb.pt"),
    ],
)
def test_families_and_tasks(
    stock: str, words: tuple[str, ...], written: str, images: Path, tmp_path: Path
) -> None:
    path = Path(stock).with_suffix(".pt")
    source = teacher(stock, path)
    before = {file.name for file in tmp_path.iterdir()}
    assert afpn_distill(path, images, *words, *SHORT) == 0
    assert {file.name for file in tmp_path.iterdir()} - before == {written}
    model: Any = YOLO(written)
    network = model.model
    assert (model.task, model.names) == (source.task, source.names)
    assert type(network) is type(source)
    first = len(source.yaml["backbone"])
    for row in [*range(first), -1]:
        assert_equal(network.model[row], source.model[row])
    (result,) = model.predict(next(images.iterdir()), imgsz=64, conf=0.0, verbose=False)
    boxes = result.obb if model.task == "obb" else result.boxes
    assert result.names == source.names
    assert len(boxes)


def test_enough_steps_explain_every_level(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher("yolo11n-seg.yaml", Path("t.pt"))
    # Lite: the blocks that a hybrid takes from a random teacher are of no use in another place.
    steps = ("--neck", "lite", "--steps", "20", "--batch", "4", "--imgsz", "64")
    assert afpn_distill("t.pt", images, *steps, "--json", "figures.json") == 0
    err = capsys.readouterr().err
    figures = json.loads(Path("figures.json").read_text())
    assert len(figures["before"]) == len(figures["after"]) == 3
    assert all(b > a for a, b in zip(figures["before"], figures["after"], strict=True))
    assert ("is the teacher trained" in err) == (min(figures["after"]) < 0)
    assert Path(figures["model"]).is_file()


def test_a_teacher_of_grey_images(images: Path) -> None:
    torch.manual_seed(1)
    source: Any = DetectionModel("yolo11n.yaml", ch=1, verbose=False)
    save_checkpoint(randomise(source), Path("grey.pt"))
    assert afpn_distill("grey.pt", images, "--model", "yolo11n-afpn.yaml", *SHORT) == 0
    model: Any = YOLO("yolo11n-afpn.pt")
    assert model.model.yaml["channels"] == 1
    assert_equal(model.model.model[0], source.model[0])
    (result,) = model.predict(next(images.iterdir()), imgsz=64, conf=0.0, verbose=False)
    assert len(result.boxes)


def test_a_teacher_with_a_level_of_stride_128(images: Path) -> None:
    backbone = [[-1, 1, "Conv", [8 * (i + 1), 3, 2]] for i in range(7)]
    head = [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 5], 1, "Concat", [1]],
        [-1, 1, "Conv", [48]],
        [[9, 6], 1, "Detect", ["nc"]],
    ]
    torch.manual_seed(1)
    content = {"nc": 3, "yaml_file": "p7.yaml", "backbone": backbone, "head": head}
    source = DetectionModel(content, verbose=False)
    save_checkpoint(randomise(source), Path("p7.pt"))
    assert afpn_distill("p7.pt", images, "-o", "a.pt", *SHORT[:4], "--imgsz", "256") == 0
    assert YOLO("a.pt").model.stride.tolist() == [64, 128]


def test_weights_of_a_torchvision_backbone_are_not_downloaded_to_teach_on_it(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", pytest.fail)
    backbone = [
        [-1, 1, "TorchVision", [512, "resnet18", "DEFAULT", True, 2, True]],
        *([0, 1, "Index", [c, i]] for c, i in ((128, 6), (256, 7), (512, 8))),
    ]
    head = [[[1, 2, 3], 1, "Detect", ["nc"]]]
    content = {"nc": 3, "yaml_file": "tv.yaml", "backbone": backbone, "head": head}
    torch.manual_seed(1)
    with monkeypatch.context() as patch:
        patch.setattr("torchvision.models.get_model", without_weights)
        source: Any = DetectionModel(copy.deepcopy(content), verbose=False)
    save_checkpoint(randomise(source), Path("tv.pt"))
    assert afpn_distill("tv.pt", images, "-o", "a.pt", *SHORT) == 0
    student: Any = YOLO("a.pt").model
    assert student.yaml["backbone"] == backbone
    assert_equal(student.model[0], source.model[0])


def test_a_student_of_another_task_is_saved_as_of_its_own(images: Path) -> None:
    source = teacher("yolov8n.yaml", Path("t.pt"))
    assert afpn_distill("t.pt", images, "--model", "yolov8n-afpn-lite-seg.yaml", *SHORT) == 0
    model: Any = YOLO("yolov8n-afpn-lite-seg.pt")
    assert (model.task, model.names) == ("segment", source.names)
    assert_equal(model.model.model[-1].cv2, source.model[-1].cv2)  # boxes mean the same in both
    (rows, *_), *_ = model.model.eval()(torch.zeros(1, 3, 64, 64))
    assert rows.shape[1] == 4 + 80 + 32  # coefficients of masks
    assert bool(rows.isfinite().all())
    model.predict(next(images.iterdir()), imgsz=64, verbose=False)


@pytest.mark.parametrize(
    ("stock", "words", "message"),
    [
        ("yolov8n-cls.yaml", (), "Classify"),
        ("yolo11n.yaml", ("--neck", "fpn2"), "fpn2"),
    ],
)
def test_what_gets_no_neck(stock: str, words: tuple[str, ...], message: str, images: Path) -> None:
    YOLO(stock).save("t.pt")
    with pytest.raises(ValueError, match=message):
        afpn_distill("t.pt", images, *words, *SHORT)
    assert [file.name for file in Path.cwd().iterdir()] == ["t.pt"]
