"""The metrics of a model on a data set: against pycocotools, `yolo val`, and what can go wrong."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils.metrics import compute_ap
from ultralytics.utils.patches import imread

from afpn_yolo.base.values import EvaluationError
from afpn_yolo.cli.__main__ import main
from afpn_yolo.evaluation.coco import Floats, Scores
from afpn_yolo.evaluation.datasets import DataSet, read_data
from afpn_yolo.evaluation.evaluate import Report, detect, evaluate_model
from afpn_yolo.upstream.opened import open_model
from afpn_yolo.upstream.validator import find
from tests.evaluation.test_coco import plain
from tests.evaluation_data import cut, found_by, write_coco, write_yolo
from tests.lively import NAMES, save_lively

SIDE = 160
KEYS = "AP AP50 AP75 APS APM APL AR100 per_class images instances model data imgsz versions area"
COCO_IDS = {0: 90, 1: 1, 2: 13, 3: 44}  # neither from 0 nor in order


@dataclass(frozen=True)
class Case:
    """A model, and the same objects in both formats."""

    model: Path
    yaml: Path
    json: Path

    @property
    def images(self) -> Path:
        return self.yaml.parent / "images" / "val"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("evaluation")
    model = save_lively("", folder / "model.pt", modest=True)
    root = folder / "set"
    images = cut(root / "images" / "val")
    truth = found_by(model, images, SIDE)
    path = root / "annotations" / "instances_val.json"
    return Case(model, write_yolo(root, images, truth), write_coco(path, images, truth, COCO_IDS))


@pytest.fixture
def copy(case: Case, tmp_path: Path) -> Case:
    """The case with a data set of its own, to be spoilt."""
    root = tmp_path / "set"
    shutil.copytree(case.yaml.parent, root, ignore=shutil.ignore_patterns("*.cache"))
    yaml = root / "data.yaml"
    yaml.write_text(yaml.read_text().replace(str(case.yaml.parent), str(root)))
    return Case(case.model, yaml, root / "annotations" / case.json.name)


@contextlib.contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Nothing may be written into the folder, or touched."""

    def state() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*")}

    before = state()
    yield
    assert state() == before


def figures(scores: Scores) -> list[float | None]:
    return [getattr(scores, field.name) for field in fields(Scores)]


def rows_of(model: Path, data: Path, clip: bool = False) -> tuple[DataSet, Floats]:
    """A data set, and what a model finds on it."""
    opened = open_model(model)
    data_set, found = detect(opened, read_data(data, opened.names), SIDE, clip=clip)
    return data_set, found.rows


def test_equals_plain_pycocotools_on_yolo_data(case: Case) -> None:
    with unchanged(case.yaml.parent):
        report = evaluate_model(case.model, case.yaml, imgsz=SIDE)
        data, rows = rows_of(case.model, case.yaml)
    expected = plain(data.truth, rows, NAMES)
    got = figures(report)
    assert [-1 if value is None else value for value in got] == pytest.approx(expected, abs=1e-9)
    assert 0.2 < expected[0] < 0.8
    assert report.instances == sum(scores.instances for scores in report.per_class.values()) > 100


def test_equals_plain_pycocotools_on_coco_json_with_crowds(case: Case) -> None:
    report = evaluate_model(case.model, case.json, imgsz=SIDE, images=case.images)
    assert report.split is None
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
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    expected = [*evaluation.stats[:6], evaluation.stats[8]]
    got = [-1 if value is None else value for value in figures(report)]
    assert got == pytest.approx(expected, abs=1e-9)
    assert 0.2 < expected[0] < 0.8
    crowds = sum(annotation["iscrowd"] for annotation in coco.dataset["annotations"])
    assert report.instances == len(coco.dataset["annotations"]) - crowds
    assert {data.categories[k] for k in NAMES} == {*COCO_IDS.values()}


@dataclass(frozen=True)
class Theirs:
    """What `yolo val` finds, (N, 6) by the image's name, and its metrics."""

    found: dict[str, Floats]
    AP: float
    AP50: float


@pytest.fixture(scope="module")
def theirs(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Theirs:
    folder = tmp_path_factory.mktemp("validator")
    data = shutil.copytree(case.yaml.parent, folder / "set")  # it writes there
    yaml = data / "data.yaml"
    yaml.write_text(yaml.read_text().replace(str(case.yaml.parent), str(data)))
    found: dict[str, Floats] = {}

    class Recorder(DetectionValidator):  # type: ignore[misc]
        def update_metrics(self, preds: list[Any], batch: dict[str, Any]) -> None:
            for place, pred in enumerate(preds):
                prepared = self._prepare_batch(place, batch)
                scaled = self.scale_preds(pred, prepared)
                table = [scaled["bboxes"], scaled["conf"][:, None], scaled["cls"][:, None]]
                name = Path(prepared["im_file"]).name
                found[name] = np.hstack([part.numpy() for part in table])
            super().update_metrics(preds, batch)

    options = {"imgsz": SIDE, "plots": False, "project": str(folder), "verbose": False}
    metrics = YOLO(case.model).val(data=str(yaml), validator=Recorder, **options)
    return Theirs(found, metrics.box.map, metrics.box.map50)


def test_detections_are_those_of_the_validator(case: Case, theirs: Theirs) -> None:
    data, rows = rows_of(case.model, case.yaml, clip=True)  # what the recorder scales, is clipped
    assert len(theirs.found) == len(data.images)
    for number, image in enumerate(data.images):
        mine = rows[rows[:, 0] == number]
        corners = np.hstack([mine[:, 2:4], mine[:, 2:4] + mine[:, 4:6], mine[:, [6, 1]]])
        assert corners == pytest.approx(theirs.found[image.name], abs=1e-3)


@pytest.mark.skipif(
    compute_ap([0.5], [1.0])[0] > 0.6,
    reason="this Ultralytics draws precision on to recall 1, where no detection is",
)
def test_agrees_with_yolo_val(case: Case, theirs: Theirs) -> None:
    report = evaluate_model(case.model, case.yaml, imgsz=SIDE)
    assert pytest.approx(theirs.AP, abs=0.003) == report.AP  # it integrates in another way
    assert pytest.approx(theirs.AP50, abs=0.0055) == report.AP50
    assert report.area == "boxes of the YOLO labels"


@pytest.mark.parametrize("kind", ["seg", "pose"])
def test_boxes_of_other_tasks_are_those_of_predict(case: Case, tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    model = YOLO(f"yolov8n-{kind}.yaml")  # untrained, so it has to be made to find anything
    for branch in model.model.model[-1].cv3:
        nn.init.normal_(branch[-1].weight, 0, 0.3)
        nn.init.constant_(branch[-1].bias, -2)
    image = cut(tmp_path / "parts", 3)[2]
    square = tmp_path / "square.png"
    decoded = cv2.imread(str(image))
    assert decoded is not None
    cv2.imwrite(str(square), cv2.resize(decoded, (SIDE, SIDE)))
    opened = open_model(model)
    rows = find(opened, [square], [(SIDE, SIDE)], SIDE, square=True, clip=True).rows
    best = rows[:1]
    options = {"conf": 0.001, "iou": 0.7, "imgsz": SIDE, "rect": False, "verbose": False}
    (result,) = model.predict(square, save=False, **options)
    corners = np.hstack([best[:, 2:4], best[:, 2:4] + best[:, 4:6], best[:, [6, 1]]])
    assert len(rows) > 3
    assert {*rows[:, 1]} <= {*map(float, model.names)}
    # predict keeps but the best class of a box: of the best box of all they say the same.
    assert corners == pytest.approx(result.boxes.data.numpy()[:1], abs=1e-3)


def test_rotated_boxes_are_refused(case: Case) -> None:
    with pytest.raises(EvaluationError, match="task obb; its boxes are rotated, COCO's are not"):
        evaluate_model(YOLO("yolov8n-obb.yaml"), case.yaml)


def test_boxes_are_judged_as_predicted_or_clipped(case: Case) -> None:
    both = {clip: rows_of(case.model, case.yaml, clip=clip) for clip in (False, True)}
    data, rows = both[True][0], {clip: rows for clip, (_, rows) in both.items()}
    sizes = np.array([(width, height) * 2 for height, width in data.sizes])
    far = sizes[rows[True][:, 0].astype(int)]
    corners = {c: np.hstack([r[:, 2:4], r[:, 2:4] + r[:, 4:6]]) for c, r in rows.items()}
    assert corners[True] == pytest.approx(corners[False].clip(0, far))
    assert (corners[False] < 0).any()
    assert (corners[False] > far).any()
    clipped = evaluate_model(case.model, case.yaml, imgsz=SIDE, clip=True)
    assert clipped.clip
    assert figures(clipped) != figures(evaluate_model(case.model, case.yaml, imgsz=SIDE))


def test_an_export_sees_what_its_model_sees_in_squares(case: Case, tmp_path: Path) -> None:
    model = Path(shutil.copy(case.model, tmp_path))
    YOLO(model).export(format="onnx", imgsz=SIDE)
    with unchanged(case.yaml.parent):
        exported = evaluate_model(model.with_suffix(".onnx"), case.yaml, imgsz=320)
    assert exported.imgsz == (SIDE, SIDE)
    assert exported.square
    original = evaluate_model(model, case.yaml, imgsz=SIDE, square=True)
    assert pytest.approx(original.AP, abs=0.001) == exported.AP
    assert evaluate_model(model, case.yaml, imgsz=SIDE).AP != original.AP


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
    printed, said = capsys.readouterr()
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    report = json.loads((tmp_path / "r.json").read_text())
    assert {*KEYS.split()} <= {*report}
    assert report["per_class"]["never there"]["AP"] is None
    assert report["APL"] is None or report["APL"] >= 0
    assert report["imgsz"] == SIDE
    assert (report["images"], report["model"]) == (24, str(case.model))
    assert {"ultralytics", "torch", "faster-coco-eval", "afpn_yolo"} <= {*report["versions"]}
    first = rf"^all +{report['instances']} +{100 * report['AP']:.1f} "
    assert re.search(first, printed, re.MULTILINE)
    assert re.search(r"^never there +0( +-){7}$", printed, re.MULTILINE)
    assert "small, medium and large by boxes of the YOLO labels\n" in printed
    assert "Detecting" in said
    assert main([*words, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == report


def test_command_tells_a_mistake_in_one_line(
    copy: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copy.yaml.parent / "labels")
    report = tmp_path / "r.json"
    assert main(["evaluate", str(copy.model), str(copy.yaml), "--json", str(report)]) == 2
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("error"))
    assert "none of the 24 images of split 'val' has a label file" in line
    assert not report.exists()
    assert main(["evaluate", "a.pt", "b.yaml", "--batch", "0"]) == 2
    assert capsys.readouterr().err == "error: --batch must be at least 1, got 0\n"


def test_damaged_images_are_left_out_and_named(copy: Case) -> None:
    names = [f"{i:03d}.png" for i in (3, 7, 11)]
    (copy.images / names[0]).write_text("no image")
    whole = (copy.images / names[1]).read_bytes()
    (copy.images / names[1]).write_bytes(whole[: len(whole) // 2])
    (copy.images / names[2]).unlink()
    with unchanged(copy.yaml.parent):
        report = evaluate_model(copy.model, copy.json, imgsz=SIDE)
    assert report.images == 21
    assert [Path(name).name for name in report.damaged] == names[::-1]  # by falling id
    assert report.instances < evaluate_model(copy.model, copy.yaml, imgsz=SIDE).instances
    objects = json.loads(copy.json.read_text())["annotations"]
    left = [a for a in objects if a["image_id"] not in (997, 993, 989) and not a["iscrowd"]]
    assert report.instances == len(left)


def test_an_image_that_fails_to_decode_is_left_out(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate_model(case.model, case.yaml, imgsz=SIDE)

    def fail(path: str, flags: int) -> Any:
        if path.endswith("005.png"):
            raise ValueError("broken inside")
        return imread(path, flags)

    monkeypatch.setattr("ultralytics.data.base.imread", fail)
    report = evaluate_model(case.model, case.yaml, imgsz=SIDE)
    labels = case.yaml.parent / "labels" / "val" / "005.txt"
    assert report.instances == whole.instances - len(labels.read_text().splitlines())
    assert report.images == whole.images - 1
    assert [Path(name).name for name in report.damaged] == ["005.png"]


def test_an_open_model_stays_as_it_is(case: Case) -> None:
    model = YOLO(case.model)
    report = evaluate_model(model, case.yaml, imgsz=SIDE)
    assert isinstance(report, Report)
    assert report.AP == evaluate_model(case.model, case.yaml, imgsz=SIDE).AP
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.model.modules())


@pytest.mark.parametrize("name", ["junk.pt", "junk.onnx", "absent.pt"])
def test_what_is_no_model_is_named(case: Case, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name != "absent.pt":
        path.write_text("no model")
    with pytest.raises(EvaluationError, match=rf"{name} can't be opened: "):
        evaluate_model(path, case.yaml)


def test_another_number_of_classes_is_refused(copy: Case) -> None:
    copy.yaml.write_text(copy.yaml.read_text().replace("  3: never there\n", ""))
    with pytest.raises(EvaluationError, match=r"data.yaml has 3 classes, .*model.pt has 4"):
        evaluate_model(copy.model, copy.yaml, imgsz=SIDE)
