"""Grafted models of several families and tasks live: trained, resumed, evaluated, exported."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from PIL import Image, ImageDraw
from ultralytics import YOLO

from afpn_yolo.layers import LevelFusion

CLASSES = ("light", "dark")
KEYPOINTS = 17


def label(task: str, kind: int, x: float, y: float, w: float, h: float) -> str:
    """One line of a label file for a rectangle, whose corners are also its points."""
    box = [x, y, w, h]
    corners = [(x + w * i / 2, y + h * j / 2) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    if task in ("segment", "obb"):
        box = [side for corner in corners for side in corner]
    if task == "pose":
        points = [corners[i % 4] for i in range(KEYPOINTS)]
        box += [value for point in points for value in (*point, 2)]
    return " ".join((str(kind), *(f"{value:.5f}" for value in box)))


def generated(task: str, folder: Path) -> Path:
    """A data set of eight images of two rectangles each; returns its YAML."""
    draw = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for i in range(8):
        image = Image.fromarray(draw.integers(90, 130, (128, 128, 3), dtype=np.uint8))
        lines = []
        for kind in range(2):
            w, h = (float(v) for v in draw.uniform(0.25, 0.45, 2))
            x, y = 0.27 + 0.46 * kind, float(draw.uniform(0.3, 0.7))
            edges = [128 * v for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)]
            ImageDraw.Draw(image).rectangle(edges, fill=(230 - 200 * kind,) * 3)
            lines.append(label(task, kind, x, y, w, h))
        image.save(folder / "images" / f"{i}.png")
        (folder / "labels" / f"{i}.txt").write_text("\n".join(lines))
    data: dict[str, Any] = {"path": str(folder), "train": "images", "val": "images"}
    data["names"] = dict(enumerate(CLASSES))
    if task == "pose":
        data |= {"kpt_shape": [KEYPOINTS, 3], "flip_idx": [*range(KEYPOINTS)]}
    (folder / "data.yaml").write_text(yaml.safe_dump(data))
    return folder / "data.yaml"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task", "side"),
    [
        ("yolo11n-afpn-seg.yaml", "segment", 96),
        ("yolo26n-afpn-lite.yaml", "detect", 96),
        ("yolo26n-afpn-lite-p2.yaml", "detect", 96),
        ("yolov8n-afpn-lite-p6-pose.yaml", "pose", 128),
        ("yolo11n-afpn-lite-obb.yaml", "obb", 96),
    ],
)
def test_a_life(name: str, task: str, side: int, tmp_path: Path) -> None:
    data = generated(task, tmp_path / "data")
    options: dict[str, Any] = {"imgsz": side, "workers": 0, "plots": False, "verbose": False}
    model: Any = YOLO(name)
    assert model.task == task
    project = str(tmp_path / "runs")
    model.train(data=data, epochs=2, batch=4, project=project, name="run", save_period=1, **options)
    weights = tmp_path / "runs" / "run" / "weights"
    trained: Any = YOLO(weights / "best.pt")
    assert trained.task == task
    assert trained.model.yaml["yaml_file"] == name
    assert any(isinstance(m, LevelFusion) for m in trained.model.modules())
    metrics = trained.val(data=data, **options)
    assert all(math.isfinite(value) for value in metrics.results_dict.values())
    image = tmp_path / "data" / "images" / "0.png"
    (result,) = trained.predict(image, imgsz=side, conf=0.001, verbose=False)
    assert len(result.obb if task == "obb" else result.boxes)

    resumed: Any = YOLO(weights / "epoch0.pt")
    resumed.train(resume=True)
    assert resumed.trainer.epoch == 1

    path = YOLO(weights / "best.pt").export(format="onnx", imgsz=side, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    network = YOLO(weights / "best.pt").model.float().eval().fuse(verbose=False)
    network.model[-1].export, network.model[-1].format = True, "onnx"
    x = torch.rand(1, 3, side, side)
    with torch.no_grad():
        expected = network(x)
    expected = expected if isinstance(expected, (tuple, list)) else [expected]
    for e, got in zip(expected, session.run(None, {"images": x.numpy()}), strict=False):
        assert got.shape == tuple(e.shape)
        assert np.abs(got - e.numpy()).max() <= 1e-3 * max(1, float(e.abs().max()))
