"""The metrics of a model on a data set: against pycocotools, `yolo val`, and what can go wrong."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from torch import nn
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils.patches import imread

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.cli.__main__ import main
from afpn_yolo.evaluation.coco import COLUMNS, Floats, Scores
from afpn_yolo.evaluation.datasets import DataSet
from afpn_yolo.evaluation.evaluate import Report, evaluate_model, read_data
from afpn_yolo.upstream.loading import open_model
from afpn_yolo.upstream.models import load_model, save_checkpoint
from afpn_yolo.upstream.validator import predict
from tests.evaluation.conftest import COCO_IDS, SIDE, Case, unchanged
from tests.evaluation.test_coco import summary
from tests.lively import NAMES, PHOTOGRAPHS, photograph


@pytest.fixture(scope="module")
def whole(case: Case) -> Report:
    """The report on all of it, in rectangles."""
    with unchanged(case.yaml.parent):
        return evaluate_model(case.model, case.yaml, imgsz=SIDE)


def figures(scores: Scores) -> list[float | None]:
    return [scores[key] for key in COLUMNS]


def rows_of(model: Path, data: Path, clip: bool = False) -> tuple[DataSet, Floats]:
    """A data set, and what a model finds on it."""
    opened = open_model(model)
    data_set = read_data(data, opened.names)
    return data_set, predict(opened, data_set.images, data_set.sizes, SIDE, clip=clip).rows


def test_equals_plain_pycocotools_on_coco_json_with_crowds(case: Case) -> None:
    report = evaluate_model(case.model, case.json, imgsz=SIDE, images=case.images)
    assert report["split"] is None
    data, rows = rows_of(case.model, case.json)
    results = [
        {
            "image_id": data.ids[int(row[0])],
            "category_id": data.categories[int(row[1])],
            "bbox": row[2:6].tolist(),
            "score": row[6],
        }
        for row in rows
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(case.json)
        expected = summary(coco, results)
    got = [-1 if value is None else value for value in figures(report)]
    assert got == pytest.approx(expected, abs=1e-9)
    assert 0.2 < expected[0] < 0.8
    crowds = sum(annotation["iscrowd"] for annotation in coco.dataset["annotations"])
    assert report["instances"] == len(coco.dataset["annotations"]) - crowds
    assert {data.categories[k] for k in NAMES} == {*COCO_IDS.values()}


def test_detections_are_those_of_the_validator(copy: Case) -> None:
    expected: dict[str, Floats] = {}

    class Recorder(DetectionValidator):  # type: ignore[misc]
        def update_metrics(self, preds: list[Any], batch: dict[str, Any]) -> None:
            for place, pred in enumerate(preds):
                prepared = self._prepare_batch(place, batch)
                scaled = self.scale_preds(pred, prepared)
                table = [scaled["bboxes"], scaled["conf"][:, None], scaled["cls"][:, None]]
                name = Path(prepared["im_file"]).name
                expected[name] = np.hstack([part.numpy() for part in table])
            super().update_metrics(preds, batch)

    options = {"imgsz": SIDE, "plots": False, "project": copy.yaml.parent, "verbose": False}
    YOLO(copy.model).val(data=str(copy.yaml), validator=Recorder, **options)
    data, rows = rows_of(copy.model, copy.yaml, clip=True)  # what the recorder scales, is clipped
    assert len(expected) == len(data.images)
    for number, image in enumerate(data.images):
        mine = rows[rows[:, 0] == number]
        corners = np.hstack([mine[:, 2:4], mine[:, 2:4] + mine[:, 4:6], mine[:, [6, 1]]])
        assert corners == pytest.approx(expected[image.name], abs=1e-3)


@pytest.mark.parametrize("kind", ["seg", "pose"])
def test_boxes_of_other_tasks_are_those_of_predict(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    model = YOLO(f"yolov8n-{kind}.yaml")  # untrained, so it has to be made to find anything
    for branch in model.model.model[-1].cv3:
        nn.init.normal_(branch[-1].weight, 0, 0.3)
        nn.init.constant_(branch[-1].bias, -2)
    square = tmp_path / "square.png"
    cv2.imwrite(str(square), photograph(PHOTOGRAPHS[0], SIDE, SIDE))
    opened = open_model(model)
    rows = predict(opened, [square], [(SIDE, SIDE)], SIDE, square=True, clip=True).rows
    options = {"conf": 0.001, "iou": 0.7, "imgsz": SIDE, "rect": False, "verbose": False}
    (result,) = model.predict(square, save=False, **options)
    best = rows[:1]
    corners = np.hstack([best[:, 2:4], best[:, 2:4] + best[:, 4:6], best[:, [6, 1]]])
    assert len(rows) > 3
    assert {*rows[:, 1]} <= {*map(float, model.names)}
    # predict keeps but the best class of a box: of the best box of all they say the same.
    assert corners == pytest.approx(result.boxes.data.numpy()[:1], abs=1e-3)


def test_boxes_are_judged_as_predicted_or_clipped(case: Case, whole: Report) -> None:
    _, rows = rows_of(case.model, case.yaml)
    data, clipped_rows = rows_of(case.model, case.yaml, clip=True)
    free, cut = (np.hstack([r[:, 2:4], r[:, 2:4] + r[:, 4:6]]) for r in (rows, clipped_rows))
    sizes = np.array([(width, height) * 2 for height, width in data.sizes])
    edges = sizes[rows[:, 0].astype(int)]
    assert cut == pytest.approx(free.clip(0, edges))
    assert (free < 0).any()
    assert (free > edges).any()
    clipped = evaluate_model(case.model, case.yaml, imgsz=SIDE, clip=True)
    assert clipped["clip"]
    assert figures(clipped) != figures(whole)


def test_an_export_sees_what_its_model_sees_in_squares(
    case: Case, whole: Report, tmp_path: Path
) -> None:
    model = Path(shutil.copy(case.model, tmp_path))
    YOLO(model).export(format="onnx", imgsz=SIDE, simplify=False)
    with unchanged(case.yaml.parent):
        exported = evaluate_model(model.with_suffix(".onnx"), case.yaml, imgsz=320)
    assert exported["imgsz"] == SIDE
    assert exported["square"]
    assert open_model(model.with_suffix(".onnx")).imgsz == SIDE
    original = evaluate_model(model, case.yaml, imgsz=SIDE, square=True)
    assert pytest.approx(original["AP"], abs=0.001) == exported["AP"]
    assert whole["AP"] != original["AP"]


def test_command_prints_a_table_and_writes_the_report(
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", str(case.model), str(case.yaml), "--imgsz", str(SIDE)]
    with unchanged(case.yaml.parent):
        assert main([*words, "--json", "r.json"]) == 0
    printed, err = capsys.readouterr()
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    report = json.loads((tmp_path / "r.json").read_text())
    assert {*Report.__annotations__} == {*report}
    assert report["per_class"]["never there"]["AP"] is None
    assert report["imgsz"] == SIDE
    assert (report["images"], report["model"]) == (24, str(case.model))
    assert {"ultralytics", "torch", "faster-coco-eval", "afpn_yolo"} <= {*report["versions"]}
    first = rf"^all +{report['instances']} +{100 * report['AP']:.1f} "
    assert re.search(first, printed, re.MULTILINE)
    assert re.search(r"^never there +0( +-){7}$", printed, re.MULTILINE)
    assert "small, medium and large by boxes of the YOLO labels\n" in printed
    assert "Detecting" in err
    assert main([*words, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == report


def test_the_image_size_is_the_models_own(case: Case, tmp_path: Path) -> None:
    model: Any = YOLO(case.model).model
    model.args = {"imgsz": 96}
    save_checkpoint(model, tmp_path / "small.pt")
    assert open_model(tmp_path / "small.pt").imgsz == 96
    assert open_model(YOLO("yolov8n.yaml")).imgsz == 640
    report = evaluate_model(tmp_path / "small.pt", case.yaml)
    assert report["imgsz"] == 96
    opened = YOLO(case.model)
    assert figures(report) == figures(evaluate_model(opened, case.yaml, imgsz=96))
    layers = opened.model.modules()
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in layers)  # it wasn't fused


def test_rotated_boxes_are_refused(case: Case) -> None:
    with pytest.raises(EvaluationError, match="rotated"):
        evaluate_model(YOLO("yolov8n-obb.yaml"), case.yaml)


@pytest.mark.parametrize(
    ("name", "downloads"),
    [
        ("missing.pt", []),
        ("runs/yolo11n.pt", []),
        ("yolo11n", ["yolo11n.pt"]),
        ("yolov5n.pt", ["yolov5nu.pt"]),
    ],
)
def test_only_stock_checkpoints_are_downloaded(
    name: str, downloads: list[str], case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []

    def download(url: str, **_: Any) -> None:
        asked.append(Path(url).name)
        raise ConnectionError("not in this test")

    monkeypatch.setattr("ultralytics.utils.downloads.safe_download", download)
    monkeypatch.setattr("ultralytics.utils.downloads.get_github_assets", pytest.fail)
    with pytest.raises(EvaluationError, match="not in this test" if downloads else "no such file"):
        evaluate_model(name, case.yaml)
    assert asked == downloads


def test_a_distillation_midway_is_measured_and_trained_on_as_its_student(
    case: Case, whole: Report, tmp_path: Path
) -> None:
    module = pytest.importorskip("ultralytics.nn.distill_model")
    student, teacher = (YOLO(case.model).model.float() for _ in range(2))
    student.args = SimpleNamespace(imgsz=SIDE, dis=1.0)
    midway = module.DistillationModel(teacher, student)
    args = {"task": "detect", "imgsz": SIDE}
    torch.save({"epoch": 0, "model": midway, "train_args": args}, tmp_path / "epoch0.pt")
    report = evaluate_model(tmp_path / "epoch0.pt", case.yaml)
    assert figures(report) == figures(whole)
    assert report["imgsz"] == SIDE
    assert type(load_model(tmp_path / "epoch0.pt")) is type(student)
    fresh = YOLO("yolov5n-afpn.yaml").model
    fresh.load(YOLO(tmp_path / "epoch0.pt").model)
    weight = "model.5.conv.weight"
    assert torch.equal(fresh.state_dict()[weight], student.state_dict()[weight])


def test_damaged_images_are_left_out_and_named(copy: Case, whole: Report) -> None:
    names = [f"{i:03d}.png" for i in (3, 7, 11)]
    (copy.images / names[0]).write_text("no image")
    (copy.images / names[1]).write_bytes((copy.images / names[1]).read_bytes()[:9000])
    (copy.images / names[2]).unlink()
    with unchanged(copy.yaml.parent):
        report = evaluate_model(copy.model, copy.json, imgsz=SIDE)
    assert report["images"] == 21
    assert [Path(name).name for name in report["damaged"]] == names[::-1]  # by falling id
    assert report["instances"] < whole["instances"]
    objects = json.loads(copy.json.read_text())["annotations"]
    left = [a for a in objects if a["image_id"] not in (997, 993, 989) and not a["iscrowd"]]
    assert report["instances"] == len(left)


def test_an_image_that_fails_to_decode_is_left_out(
    case: Case, whole: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
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
