"""Exported models agree with PyTorch on photographs, in ONNX Runtime and as TorchScript."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ultralytics import YOLO

from tests.lively import PHOTOGRAPHS, blob, export, photograph, save_lively

PIXELS, SCORES = 0.05, 1e-4


def answer(path: Path, x: torch.Tensor, opencv: bool = False) -> np.ndarray:
    """The raw output of an export."""
    if opencv:
        net = cv2.dnn.readNetFromONNX(str(path))
        net.setInput(x.numpy())
        return np.asarray(net.forward())
    if path.suffix == ".torchscript":
        scripted: Any = torch.jit.load(path)  # type: ignore[no-untyped-call]
        return np.asarray(scripted(x))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": x.numpy()})[0])


def assert_agrees(
    model: Path, path: Path, sizes: list[tuple[int, int]], opencv: bool = False
) -> None:
    """Raw outputs (1, 4 + classes, anchors): boxes in pixels, then scores."""
    torch_model = YOLO(model).model.eval()
    for height, width in sizes:
        answers = []
        for path_of_image in PHOTOGRAPHS:
            x = blob(path_of_image, height, width)
            with torch.no_grad():
                expected, got = torch_model(x)[0].numpy(), answer(path, x, opencv)
            assert got.shape == expected.shape
            assert np.abs(got[:, :4] - expected[:, :4]).max() <= PIXELS
            assert np.abs(got[:, 4:] - expected[:, 4:]).max() <= SCORES
            answers.append(expected)
        # A model that says the same of every image would prove nothing.
        change = np.abs(answers[0] - answers[1])
        assert change[:, :4].max() > 1
        assert change[:, 4:].max() > 0.02


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def test_dynamic_size(lively: Path) -> None:
    path = export(lively, "imgsz=160", "dynamic=True")
    assert "BatchNormalization" not in operators(path)
    assert_agrees(lively, path, [(160, 160), (96, 96), (128, 224)])


def test_torchscript(lively: Path) -> None:
    path = Path(YOLO(lively).export(format="torchscript", imgsz=160))
    assert_agrees(lively, path, [(160, 160)])


@pytest.mark.parametrize("fusion", ["", "-sum", "-concat", "-lite-sum"])
def test_each_fusion_in_onnx_runtime_and_opencv(fusion: str, tmp_path: Path) -> None:
    path = save_lively(fusion, tmp_path / "afpn.pt")
    exported = export(path, "imgsz=96", "simplify=False")
    if fusion == "-lite-sum":  # what every accelerator has; the head's DFL and box decoding aside
        nodes = onnx.load(exported).graph.node
        neck = {x.op_type for x in nodes if re.match(r"/model\.(1\d|2[0-3])/", x.name)}
        assert neck - {"Constant"} == {"Conv", "Sigmoid", "Mul", "Add", "Resize", "Concat"}
    for opencv in (False, True):  # OpenCV 5.0 needs a form of its own of ASFF's sum
        assert_agrees(path, exported, [(96, 96)], opencv)


def test_embedded_nms_gives_the_detections_of_predict(lively: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"imgsz": 160, "conf": 0.1, "iou": 0.5, "verbose": False}
    path = export(lively, "imgsz=160", "nms=True", "conf=0.1", "iou=0.5")
    assert "BatchNormalization" not in operators(path)
    image = photograph(PHOTOGRAPHS[0], 160, 160)
    expected, got = (YOLO(p, task="detect")(image, **options)[0].boxes.data for p in (lively, path))
    assert len(expected) > 20
    found = 0
    for row in got:
        difference = (expected - row).abs()
        same = (difference[:, :4].amax(1) <= PIXELS) & (difference[:, 4] <= SCORES)
        found += bool((same & (difference[:, 5] == 0)).any())
    # A pair whose overlap is the threshold to seven digits may fall to either side.
    assert found >= max(len(expected), len(got)) - 1
