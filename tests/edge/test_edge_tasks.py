"""Boxes of grafted models of every task and head: as Ultralytics' predict, from the same file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from ultralytics import YOLO

from afpn_yolo.edge import Detector
from afpn_yolo.edge.__main__ import main
from tests.lively import PHOTOGRAPHS, export, lively_named, photograph

SIDE = 96
CONF, IOU = 0.1, 0.5
PIXELS, SCORES, RADIANS = 0.5, 1e-3, 1e-3  # as for detection
SHAPES = ((96, 96), (120, 301), (333, 97))
PLAIN = ("simplify=False",)  # most of an export's time goes into onnxslim
EMBEDDED = ("nms=True", f"conf={CONF}", f"iou={IOU}")
END2END = ("nms=False",)  # Ultralytics' word for: with the head that gives no doubles
MODELS = [
    ("yolo11n-afpn-lite-seg.yaml", (), "masks"),
    ("yolo11n-afpn-lite-seg.yaml", EMBEDDED, "masks"),
    ("yolov8n-afpn-pose.yaml", ("dynamic=True", *PLAIN), "keypoints"),
    ("yolo11n-afpn-lite-obb.yaml", PLAIN, ""),
    ("yolo26n-afpn-lite.yaml", END2END, ""),
    ("yolo26n-afpn-lite.yaml", PLAIN, ""),
    ("yolo26n-afpn-lite-seg.yaml", (*END2END, *PLAIN), "masks"),
    ("yolo26n-afpn-obb.yaml", (*END2END, *PLAIN), ""),
    ("yolov10n-afpn.yaml", (*END2END, *PLAIN), ""),
]


def rows(result: Any) -> np.ndarray:
    """(N, 6 or 7): box or rotated box, score, class."""
    boxes = result.boxes if result.obb is None else result.obb
    return np.asarray(boxes.data.numpy())


@pytest.mark.parametrize(("name", "options", "unread"), MODELS)
def test_boxes_are_those_of_predict(
    name: str,
    options: tuple[str, ...],
    unread: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = lively_named(name, tmp_path)
    path = export(model, f"imgsz={SIDE}", *options)
    said = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert (said["end2end"] == "True") == ({*END2END} <= {*options})
    stock = YOLO(path, task=said["task"])
    detector = Detector(path, CONF, IOU)
    assert detector.unread == unread
    count, classes = 0, set()
    for i, shape in enumerate(SHAPES):
        image = photograph(PHOTOGRAPHS[i % 2], *shape)
        result = stock.predict(image, conf=CONF, iou=IOU, imgsz=SIDE, verbose=False)[0]
        expected, found = rows(result), detector(image)
        assert len(found) == len(expected)
        assert np.abs(found.scores - expected[:, -2]).max(initial=0) <= SCORES
        assert (found.class_ids == expected[:, -1]).all()
        if result.obb is not None:
            assert found.xywhr is not None
            assert np.abs(found.xywhr - expected[:, :5]).max(initial=0) <= PIXELS
            assert np.abs(found.xywhr - expected[:, :5])[:, 4].max(initial=0) <= RADIANS
            reach = result.obb.xyxy.numpy()
            assert np.abs(found.xyxy - reach).max(initial=0) <= PIXELS
        else:
            assert found.xywhr is None
            assert np.abs(found.xyxy - expected[:, :4]).max(initial=0) <= PIXELS
        count += len(found)
        classes |= set(found.class_ids.tolist())
    assert count > 20  # agreeing on nothing would prove nothing
    assert len(classes) > 1
    shot = tmp_path / "image.png"
    assert cv2.imwrite(str(shot), photograph(PHOTOGRAPHS[0], SIDE, SIDE))
    report = tmp_path / "found.json"
    assert main([str(path), str(shot), "--conf", str(CONF), "--json", str(report)]) == 0
    told = capsys.readouterr().err
    assert (f"only its boxes are read, not its {unread}" in told) == bool(unread)
    (entry,) = json.loads(report.read_text())
    expected_keys = {"class_id", "name", "score", "xyxy"} | ({"xywhr"} if "-obb" in name else set())
    assert all(expected_keys == {*one} for one in entry["detections"])
    assert entry["detections"]
