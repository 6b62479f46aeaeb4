"""Evaluation of what is damaged, or doesn't fit: named, and left out or refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ultralytics import YOLO
from ultralytics.utils.patches import imread

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.evaluation.coco import COLUMNS
from afpn_yolo.evaluation.evaluate import evaluate_model
from afpn_yolo.upstream.models import load_model
from tests.evaluation_data import SIDE, Case, unchanged


def test_rotated_boxes_are_refused(case: Case) -> None:
    with pytest.raises(EvaluationError, match="rotated"):
        evaluate_model(YOLO("yolov8n-obb.yaml"), case.yaml)


@pytest.mark.parametrize("name", ["missing.pt", "runs/yolo11n.pt", "yolo11nn.pt"])
def test_a_checkpoint_that_is_nowhere_is_refused_without_a_look_at_the_network(
    name: str, case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for function in ("get_github_assets", "safe_download"):
        monkeypatch.setattr(f"ultralytics.utils.downloads.{function}", pytest.fail)
    with pytest.raises(EvaluationError, match=f"^{name}: no such file"):
        evaluate_model(name, case.yaml)


@pytest.mark.parametrize("name", ["yolo11n.pt", "yolov5n.pt", "yolo11n"])
def test_a_stock_checkpoint_is_downloaded(
    name: str, case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []

    def download(url: str, **_: Any) -> None:
        asked.append(Path(url).name)
        raise ConnectionError("not in this test")

    monkeypatch.setattr("ultralytics.utils.downloads.safe_download", download)
    with pytest.raises(EvaluationError, match="not in this test"):
        evaluate_model(name, case.yaml)
    assert asked == ["yolov5nu.pt" if name == "yolov5n.pt" else "yolo11n.pt"]


def test_a_distillation_midway_is_measured_and_trained_on_as_its_student(
    case: Case, tmp_path: Path
) -> None:
    module = pytest.importorskip("ultralytics.nn.distill_model")
    student, teacher = (YOLO(case.model).model.float() for _ in range(2))
    student.args = SimpleNamespace(imgsz=SIDE, dis=1.0)
    midway = module.DistillationModel(teacher, student)
    args = {"task": "detect", "imgsz": SIDE}
    torch.save({"epoch": 0, "model": midway, "train_args": args}, tmp_path / "epoch0.pt")
    report = evaluate_model(tmp_path / "epoch0.pt", case.yaml)
    expected = evaluate_model(case.model, case.yaml, imgsz=SIDE)
    assert [report[key] for key in COLUMNS] == [expected[key] for key in COLUMNS]
    assert report["imgsz"] == SIDE
    assert type(load_model(tmp_path / "epoch0.pt")) is type(student)
    fresh = YOLO("yolov5n-afpn.yaml").model
    fresh.load(YOLO(tmp_path / "epoch0.pt").model)
    weight = "model.5.conv.weight"
    assert torch.equal(fresh.state_dict()[weight], student.state_dict()[weight])


def test_damaged_images_are_left_out_and_named(copy: Case) -> None:
    names = [f"{i:03d}.png" for i in (3, 7, 11)]
    (copy.images / names[0]).write_text("no image")
    whole = (copy.images / names[1]).read_bytes()
    (copy.images / names[1]).write_bytes(whole[: len(whole) // 2])
    (copy.images / names[2]).unlink()
    with unchanged(copy.yaml.parent):
        report = evaluate_model(copy.model, copy.json, imgsz=SIDE)
    assert report["images"] == 21
    assert [Path(name).name for name in report["damaged"]] == names[::-1]  # by falling id
    assert report["instances"] < evaluate_model(copy.model, copy.yaml, imgsz=SIDE)["instances"]
    objects = json.loads(copy.json.read_text())["annotations"]
    left = [a for a in objects if a["image_id"] not in (997, 993, 989) and not a["iscrowd"]]
    assert report["instances"] == len(left)


def test_an_image_that_fails_to_decode_is_left_out(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate_model(case.model, case.yaml, imgsz=SIDE)

    def fail(path: str, flags: int) -> Any:
        if path.endswith("005.png"):
            raise ValueError("broken inside")
        return imread(path, flags)

    monkeypatch.setattr("afpn_yolo.upstream.validator.imread", fail)
    report = evaluate_model(case.model, case.yaml, imgsz=SIDE)
    labels = case.yaml.parent / "labels" / "val" / "005.txt"
    assert report["instances"] == whole["instances"] - len(labels.read_text().splitlines())
    assert report["images"] == whole["images"] - 1
    assert [Path(name).name for name in report["damaged"]] == ["005.png"]
