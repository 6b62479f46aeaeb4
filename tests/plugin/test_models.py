"""Every model YAML that we ship, at every scale."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import thop
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn import tasks
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.upstream.neck import run_rows
from tests import neck

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
    """A model's rows as the parser lays them out, with shapes and no values: no memory, no time."""
    model = nn.Module()
    with torch.device("meta"):
        model.model, _ = tasks.parse_model(tasks.yaml_model_load(name), ch=3, verbose=False)
    return model


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_every_yaml_is_tested() -> None:
    names = {f"yolov5-afpn{fusion}" for fusion in FUSIONS} | {"yolov5-afpn-lite", "yolov5-none"}
    assert {path.stem for path in MODELS.glob("*.yaml")} == names


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_parameters(scale: str, fusion: str) -> None:
    model = laid_out(f"yolov5{scale}-afpn{fusion}.yaml")
    ours = count(model.model[NECK])
    assert ours == neck_parameters(model.model[4].cv3.conv.out_channels, fusion)
    # Backbone and head are those of the stock model.
    stock = laid_out(f"yolov5{scale}.yaml")
    assert count(stock) == STOCK[scale]
    assert count(model) - ours == STOCK[scale] - count(stock.model[PAFPN])
    assert count(model) < STOCK[scale]
    if fusion == "" and scale in PINNED:
        assert (ours, count(model)) == PINNED[scale]


@pytest.mark.parametrize(("scale", "whole"), [("n", 1_670_898), ("s", 6_420_210)])
def test_parameters_of_table_iv(scale: str, whole: int) -> None:
    """1.67 M and 6.42 M: the paper's anchor head has 3 anchors x 85 values per level."""
    model = laid_out(f"yolov5{scale}-afpn.yaml")
    widths = [model.model[row].conv.out_channels for row in (26, 27, 28)]
    anchor_head = sum((width + 1) * 3 * 85 for width in widths)
    assert count(model.model[:29]) + BIASES[scale] + anchor_head == whole


@pytest.mark.parametrize(
    ("name", "rows", "parameters", "gflops"),
    [
        ("yolov5n-afpn", NECK, 508_565, 1.182),
        ("yolov5s-afpn", NECK, 2_017_589, 4.681),
        ("yolov5n", PAFPN, 710_784, 1.337),
        ("yolov5s", PAFPN, 2_834_688, 5.348),
    ],
)
def test_parameters_and_gflops_of_the_neck(
    name: str, rows: slice, parameters: int, gflops: float
) -> None:
    """GFLOPs: 2 x MACs at 640 with BatchNorm folded, with the counter that Ultralytics uses."""
    model = DetectionModel(f"{name}.yaml", verbose=False).eval()
    assert count(model.model[rows]) == parameters
    # Ultralytics' own `fuse`: ours goes on to merge the squeezes, which adds zeros.
    DetectionModel.fuse.__wrapped__(model, verbose=False)
    features = {}
    hooks = [
        model.model[row].register_forward_hook(lambda m, i, o: features.update({m.i: o}))
        for row in (4, 6, 9)
    ]
    with torch.no_grad():
        model(torch.zeros(1, 3, 640, 640))
        for hook in hooks:
            hook.remove()
        outputs = run_rows(model.model, features, range(rows.start, rows.stop))
        macs = 0.0
        for layer in model.model[rows]:
            sources = layer.f if isinstance(layer.f, list) else [layer.f]
            taken = [outputs[layer.i - 1 if f == -1 else f] for f in sources]
            x = taken if isinstance(layer.f, list) else taken[0]
            macs += thop.profile(layer, inputs=[x], verbose=False)[0]
    assert 2 * macs / 1e9 == pytest.approx(gflops, abs=5e-4)


@pytest.mark.parametrize("scale", SCALES)
def test_backbone_weights_of_stock_yolov5_fit_and_nothing_else(scale: str) -> None:
    """By name and shape, as Ultralytics' `load` goes."""
    stock, ours = (laid_out(f"yolov5{scale}{kind}.yaml").state_dict() for kind in ("", "-afpn"))
    fitting = {k for k, v in stock.items() if k in ours and ours[k].shape == v.shape}
    backbone = {k for k in stock if int(k.split(".")[1]) < 10}
    counters = {k for k in fitting if k.endswith("num_batches_tracked")}  # which nothing reads
    assert fitting - counters == backbone - counters


def test_shapes_and_strides() -> None:
    model = DetectionModel("yolov5n-afpn.yaml", verbose=False)
    assert model.stride.tolist() == [8, 16, 32]
    model.eval()
    boxes = model(torch.zeros(2, 3, 96, 160))[0]
    assert boxes.shape == (2, 4 + 80, sum(96 * 160 // s**2 for s in (8, 16, 32)))


def test_no_batchnorm_is_left_after_fusing() -> None:
    torch.manual_seed(0)
    model = neck.randomise(DetectionModel("yolov5n-afpn.yaml", verbose=False))
    model.eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = model(image)[0]
        after = model.fuse(verbose=False)(image)[0]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert torch.allclose(before, after, rtol=1e-4, atol=1e-3)


def test_every_parameter_gets_a_gradient() -> None:
    model = DetectionModel("yolov5n-afpn.yaml", verbose=False).train()
    outputs = model(torch.rand(2, 3, 64, 64))
    sum(x.square().mean() for x in outputs["feats"]).backward()
    parameters = [p for layer in model.model[NECK] for p in layer.parameters()]
    assert all(p.grad is not None for p in parameters)


def test_another_number_of_classes(tmp_path: Path) -> None:
    model = YOLO("yolov5n-afpn.yaml")
    assert isinstance(model.model.yaml, dict)
    rebuilt = DetectionModel(model.model.yaml, nc=3, verbose=False)
    assert rebuilt.yaml["nc"] == 3
    assert rebuilt.model[-1].nc == 3
