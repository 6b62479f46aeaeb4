"""Every model YAML that we ship, at every scale."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from afpn_yolo.graft import shapes
from afpn_yolo.upstream.export import export_onnx
from afpn_yolo.upstream.models import empty_model
from afpn_yolo.upstream.neck import NeckModule, feature_shapes, gflops
from afpn_yolo.upstream.weights import randomize

MODELS = Path(__file__).parents[2] / "models"
NECK, PAFPN = slice(10, 29), slice(10, 24)
SCALES = "nsmlx"
FUSIONS = ("", "-sum", "-concat")
# By scale: the stock model at 80 classes; neck and whole of the authors' code with Ultralytics'
# head, less the biases that BatchNorm cancels.
STOCK = {"n": 2_654_816, "s": 9_153_152, "m": 25_111_456, "l": 53_225_024, "x": 97_276_448}
PINNED = {"n": (508_565, 2_452_597), "s": (2_017_589, 8_336_053)}
BIASES = {"n": 960, "s": 1_920}  # of the authors' residual units


def neck_parameters(c3: int, fusion: str) -> int:
    """What the topology comes to, counted from the paper's description; c3 = C3's channels."""
    q = [c3 // 4 * 2**i for i in range(3)]

    def conv(c_in: int, c_out: int, k: int) -> int:
        return c_in * c_out * k * k + 2 * c_out

    def fuse(levels: int, target: int) -> int:
        c = q[target]
        total = conv(c * (levels if fusion == "-concat" else 1), c, 3)
        for source in range(levels):
            if source != target:
                total += conv(q[source], c, 2 ** max(target - source, 0))
        if fusion == "":
            total += levels * conv(c, 8, 1) + 8 * levels * levels + levels
        return total

    lateral = sum(conv(4 * c, c, 1) + conv(c, c, 1) + conv(c, 4 * c, 1) for c in q)
    fusions = sum(fuse(levels, target) for levels in (2, 3) for target in range(levels))
    units = sum(2 * 3 * conv(c, c, 3) for c in [*q[:2], *q])
    return lateral + fusions + units


@cache
def laid_out(name: str) -> Any:
    """A model's rows, with shapes and no values: no memory, no time."""
    return shapes.laid_out(yaml_model_load(name))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_every_yaml_is_tested() -> None:
    others = {"yolov5-afpn-lite", "yolov5-afpn-lite-sum", "yolov5-afpn-hybrid", "yolov5-none"}
    names = {f"yolov5-afpn{fusion}" for fusion in FUSIONS} | others
    assert {path.stem for path in MODELS.glob("*.yaml")} == names


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_parameters(scale: str, fusion: str) -> None:
    model = laid_out(f"yolov5{scale}-afpn{fusion}.yaml")
    ours = count(model[NECK])
    assert ours == neck_parameters(model[4].cv3.conv.out_channels, fusion)
    # Backbone and head are those of the stock model.
    stock = laid_out(f"yolov5{scale}.yaml")
    assert count(stock) == STOCK[scale]
    assert count(model) - ours == STOCK[scale] - count(stock[PAFPN])
    assert count(model) < STOCK[scale]
    if fusion == "" and scale in PINNED:
        assert (ours, count(model)) == PINNED[scale]


@pytest.mark.parametrize(("scale", "whole"), [("n", 1_670_898), ("s", 6_420_210)])
def test_parameters_of_table_iv(scale: str, whole: int) -> None:
    """1.67 M and 6.42 M: the paper's anchor head has 3 anchors x 85 values per level."""
    model = laid_out(f"yolov5{scale}-afpn.yaml")
    widths = [model[row].conv.out_channels for row in (26, 27, 28)]
    anchor_head = sum((width + 1) * 3 * 85 for width in widths)
    assert count(model[:29]) + BIASES[scale] + anchor_head == whole


def test_shapes_and_strides() -> None:
    model = DetectionModel("yolov5n-afpn.yaml", verbose=False)
    assert model.stride.tolist() == [8, 16, 32]
    model.eval()
    boxes = model(torch.zeros(2, 3, 96, 160))[0]
    assert boxes.shape == (2, 4 + 80, sum(96 * 160 // s**2 for s in (8, 16, 32)))


@pytest.mark.parametrize(
    ("name", "parameters", "operations"),
    [
        ("yolov5n", 710_784, 1.337),
        ("yolov5n-afpn", 508_565, 1.182),
        ("yolov5n-afpn-lite", 262_773, 0.604),
        ("yolov5s", 2_834_688, 5.348),
        ("yolov5s-afpn", 2_017_589, 4.681),
        ("yolov5s-afpn-lite", 1_038_325, 2.349),
    ],
)
def test_parameters_and_gflops_of_the_neck(name: str, parameters: int, operations: float) -> None:
    """GFLOPs: 2 x MACs at 640 with BatchNorm folded, with the counter that Ultralytics uses."""
    model = empty_model(f"{name}.yaml")
    assert count(NeckModule(model)) == parameters
    inputs = feature_shapes(model, 1, 640)
    # Ultralytics' own `fuse`: ours goes on to merge the squeezes, which adds zeros.
    DetectionModel.fuse.__wrapped__(model, verbose=False)
    assert gflops(NeckModule(model), inputs) == pytest.approx(operations, abs=5e-4)


def test_fused_and_exported_the_lite_neck_computes_the_same(tmp_path: Path) -> None:
    model: Any = randomize(empty_model("yolov5n-afpn-lite.yaml"))
    whole = NeckModule(model).eval()
    features = [torch.randn(shape) for shape in feature_shapes(model, 1, 128)]
    with torch.no_grad():
        expected = [y.numpy() for y in whole(*features)]
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
