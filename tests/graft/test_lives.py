"""Grafted models of all families and tasks live: from the first epoch to INT8."""

from __future__ import annotations

import json
import math
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from ultralytics import YOLO

from afpn_yolo.cli.__main__ import main
from afpn_yolo.edge import Detector
from afpn_yolo.layers import LevelFusion
from afpn_yolo.shapes import generate
from tests.shared import made_once

SUFFIXES = {"detect": "", "segment": "-seg", "pose": "-pose", "obb": "-obb"}
NAMES = [
    *product(("yolov8n", "yolo11n", "yolo12n", "yolo26n"), ("afpn", "afpn-lite"), SUFFIXES),
    *product(("yolov5n", "yolov6n", "yolov9t", "yolov10n"), ("afpn", "afpn-lite"), ["detect"]),
    *product(["yolo11n"], ("afpn-sum", "afpn-concat", "none"), ["detect"]),
    ("yolov9c", "afpn-lite", "segment"),
    ("yolov8n", "afpn-ghost-p2", "detect"),
    ("yolo26n", "afpn-lite-p2", "detect"),
    *product(["yolov5n", "yolo26n"], ["afpn-p6"], ["detect"]),
    ("yolov8n", "afpn-lite-p6", "pose"),
]
END2END = ("yolo26n", "yolov10n")
CONF = 0.001  # two epochs teach little: there must be something to compare


@cache
def data_of(task: str) -> Path:
    """The YAML of a set of twelve pictures."""
    folder = made_once(
        f"shapes-{task}", lambda part: generate(part / "set", 8, 4, size=128, task=task)
    )
    return folder / "set" / "data.yaml"


def exported(weights: Path, side: int, **options: Any) -> Path:
    return Path(YOLO(weights).export(format="onnx", imgsz=side, verbose=False, **options))


def outputs(path: Path, x: torch.Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {"images": x.numpy()})]


def assert_onnx_equals_pytorch(path: Path, weights: Path, x: torch.Tensor) -> None:
    network: Any = YOLO(weights).model.float().eval().fuse(verbose=False)
    network.model[-1].export, network.model[-1].format = True, "onnx"
    with torch.no_grad():
        expected = network(x)
    expected = expected if isinstance(expected, (tuple, list)) else [expected]
    for e, got in zip(expected, outputs(path, x), strict=True):
        assert got.shape == tuple(e.shape)
        assert np.abs(got - e.numpy()).max() <= 1e-3 * max(1, float(e.abs().max()))


def assert_edge_finds_what_predict_does(path: Path, task: str, images: list[Path]) -> None:
    stock, detector = YOLO(path, task=task), Detector(path, CONF)
    for image in images:
        (result,) = stock.predict(image, conf=CONF, verbose=False)
        found, boxes = detector(image), result.obb if task == "obb" else result.boxes
        expected = np.asarray(boxes.data.numpy())
        assert len(found) == len(expected) > 0
        assert np.abs(found.scores - expected[:, -2]).max() <= 1e-3
        own = found.xyxy if found.xywhr is None else found.xywhr
        # Nearly equal scores may change places.
        gaps = np.abs(own[:, None] - expected[None, :, : own.shape[1]]).max(2)
        gaps[found.class_ids[:, None] != expected[None, :, -1]] = np.inf
        assert gaps.min(1).max() <= 0.5


def evaluated(model: Path, task: str, side: int) -> list[float]:
    """AP and AR by `afpn evaluate`."""
    report = model.with_suffix(".json")
    words = ["evaluate", str(model), str(data_of(task)), "--imgsz", str(side), "--square"]
    assert main([*words, "--batch", "1", "--json", str(report)]) == 0
    figures = json.loads(report.read_text())
    return [figures[key] for key in ("AP", "AP50", "AR100")]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "neck", "task"), NAMES)
def test_a_life(family: str, neck: str, task: str, tmp_path: Path) -> None:
    name, data = f"{family}-{neck}{SUFFIXES[task]}.yaml", data_of(task)
    side = 128 if "p6" in neck else 96
    images = sorted((data.parent / "images" / "val").glob("*.jpg"))
    options: dict[str, Any] = {"imgsz": side, "workers": 0, "plots": False, "verbose": False}
    model: Any = YOLO(name)
    assert model.task == task
    model.train(
        data=data, epochs=2, batch=4, project=tmp_path, name="run", save_period=1, **options
    )
    weights = tmp_path / "run" / "weights"
    trained: Any = YOLO(weights / "best.pt")
    assert trained.task == task
    assert trained.model.yaml["yaml_file"] == name
    fuses = any(isinstance(m, LevelFusion) for m in trained.model.modules())
    assert fuses == (neck != "none")
    metrics = trained.val(data=data, **options)
    assert all(math.isfinite(value) for value in metrics.results_dict.values())
    (result,) = trained.predict(images[0], imgsz=side, conf=CONF, verbose=False)
    assert len(result.obb if task == "obb" else result.boxes)

    resumed: Any = YOLO(weights / "epoch0.pt")
    resumed.train(resume=True)
    assert resumed.trainer.epoch == 1

    best = weights / "best.pt"
    if family in END2END:
        assert_edge_finds_what_predict_does(exported(best, side, nms=False), task, images)
    path = exported(best, side)
    x = torch.rand(1, 3, side, side)
    assert_onnx_equals_pytorch(path, best, x)
    assert_edge_finds_what_predict_does(path, task, images)
    if task != "obb":  # rotated boxes are not evaluated
        whole, of_onnx = (evaluated(each, task, side) for each in (best, path))
        assert of_onnx == pytest.approx(whole, abs=0.005)

    assert main(["quantize", str(path), str(data), "--count", "8", "--repeats", "0"]) == 0
    small = path.with_name("best-int8.onnx")
    assert small.stat().st_size < 0.5 * path.stat().st_size
    for whole_output, rounded in zip(outputs(path, x), outputs(small, x), strict=True):
        assert np.corrcoef(whole_output.ravel(), rounded.ravel())[0, 1] > 0.9
    assert Detector(small, CONF)(images[0]).scores.max(initial=0) > 0
