"""yolov5-afpn-lite.yaml: what it is made of, and that it fuses, exports and takes weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.upstream.export import export_onnx
from afpn_yolo.upstream.models import empty_model
from afpn_yolo.upstream.neck import NeckModule, feature_shapes, gflops
from afpn_yolo.upstream.weights import randomize

PAFPN = {"n": (710_784, 1.337), "s": (2_834_688, 5.348)}


@pytest.mark.parametrize(
    ("scale", "parameters", "operations"), [("n", 262_773, 0.615), ("s", 1_038_325, 2.37)]
)
def test_the_neck_costs_less_than_half(scale: str, parameters: int, operations: float) -> None:
    model = empty_model(f"yolov5{scale}-afpn-lite.yaml")
    neck = NeckModule(model)
    assert sum(p.numel() for p in neck.parameters()) == parameters < 0.38 * PAFPN[scale][0]
    shapes = feature_shapes(model, 1, 640)
    # Ultralytics' own `fuse`: ours goes on to merge the squeezes, which adds zeros.
    DetectionModel.fuse.__wrapped__(model, verbose=False)
    assert gflops(NeckModule(model), shapes) == pytest.approx(operations, rel=0.02)
    assert operations < 0.47 * PAFPN[scale][1]


def test_fused_and_exported_it_computes_the_same(tmp_path: Path) -> None:
    model: Any = randomize(empty_model("yolov5n-afpn-lite.yaml"))
    neck = NeckModule(model).eval()
    features = [torch.randn(shape) for shape in feature_shapes(model, 1, 128)]
    with torch.no_grad():
        expected = [y.numpy() for y in neck(*features)]
    model.fuse(verbose=False)
    path = export_onnx(NeckModule(model).eval(), features, tmp_path / "neck.onnx")
    nodes = [node.op_type for node in onnx.load(path).graph.node]
    assert len(nodes) <= 170
    assert "BatchNormalization" not in nodes
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    feed = dict(zip(names, (x.numpy() for x in features), strict=True))
    for ours, theirs in zip(session.run(None, feed), expected, strict=True):
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()
