"""`model.fuse()` brings fusions into a faster form that computes the same."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.nn import tasks
from ultralytics.nn.modules.conv import Conv
from ultralytics.utils.torch_utils import fuse_conv_and_bn

from afpn_yolo.layers import LAYERS, OPTIONS, AFPNFusion, LevelFusion
from afpn_yolo.plots.fusion_maps import look
from tests import neck
from tests.layers.test_golden import OUTPUT_ROWS, TOLERANCE, build, run
from tests.layers.test_layers import pyramid
from tests.lively import PHOTOGRAPHS, export
from tests.processes import ROOT


def folded(sources: int, target: int, **options: Any) -> tuple[AFPNFusion, list[Tensor]]:
    """A fusion with BatchNorm folded as Ultralytics does it, and sources for it."""
    torch.manual_seed(10 * sources + target)
    channels = [8 * 2**i for i in range(sources)]
    layer = neck.randomise(AFPNFusion(channels, target, **options)).eval()
    for conv in [m for m in layer.modules() if isinstance(m, Conv)]:
        conv.conv = fuse_conv_and_bn(conv.conv, conv.bn)
        del conv.bn
        conv.forward = conv.forward_fuse
    side = 2**sources
    return layer, [torch.randn(2, c, side >> i, side >> i) for i, c in enumerate(channels)]


def outputs(layer: nn.Module, levels: list[Tensor]) -> Tensor:
    with torch.no_grad():
        return layer(levels)


def check(layer: AFPNFusion, levels: list[Tensor], tolerance: float = TOLERANCE) -> None:
    """Fuse it; it must compute the same."""
    expected = outputs(layer, levels)
    layer.fuse()
    assert not hasattr(layer.weights, "squeeze")
    assert neck.difference(outputs(layer, levels), expected.numpy()) <= tolerance


@pytest.mark.parametrize("sources", [2, 3, 4, 5])
@pytest.mark.parametrize("hidden", [8, 3])
def test_any_number_of_levels_and_any_target(sources: int, hidden: int) -> None:
    for target in range(sources):
        check(*folded(sources, target, hidden=hidden))


@pytest.mark.parametrize("word", OPTIONS)
def test_any_option(word: str) -> None:
    check(*folded(4, 1, options=(word,)))


@pytest.mark.parametrize("scale", ["n", "s"])
def test_the_fused_neck_still_gives_the_authors_numbers(scale: str) -> None:
    arrays = neck.golden(f"afpn3-{scale}")
    model = build(scale, arrays, 1e-3).eval().fuse(verbose=False)
    assert all(hasattr(m.weights, "joint") for m in model.modules() if isinstance(m, AFPNFusion))
    with torch.no_grad():
        result = run(model, neck.inputs(arrays))
    for i, row in enumerate(OUTPUT_ROWS):
        assert neck.difference(result[row], arrays[f"eval_eps0.001_out{i}"]) <= TOLERANCE


@pytest.mark.parametrize("sources", [2, 3])
@pytest.mark.parametrize("factor", [1e2, 1e6])
def test_scores_far_apart_give_a_choice_and_no_nan(sources: int, factor: float) -> None:
    layer, levels = folded(sources, 0)
    with torch.no_grad():
        layer.weights.score.weight *= factor
    check(layer, levels, 1e-3)


def test_other_activations() -> None:
    layer, levels = folded(3, 1)
    act = nn.LeakyReLU(0.1)
    for squeeze in layer.weights.squeeze:
        squeeze.act = act
    check(layer, levels)


class Quantised(nn.Conv2d): ...


def test_before_batchnorm_is_folded_or_with_a_quantisers_layers_nothing_happens() -> None:
    quantised = folded(2, 0)[0]
    quantised.weights.score.__class__ = Quantised
    for layer in (AFPNFusion([8, 16], 0), quantised):
        layer.fuse()
        assert hasattr(layer.weights, "squeeze")


def test_fused_layers_can_be_copied_kept_and_halved(tmp_path: Path) -> None:
    layer, levels = folded(3, 1)
    layer.fuse()
    layer.fuse()  # twice does nothing
    expected = outputs(layer, levels)
    torch.save(layer, tmp_path / "layer.pt")
    kept = torch.load(tmp_path / "layer.pt", weights_only=False)
    for twin in (copy.deepcopy(layer), kept):
        assert torch.equal(outputs(twin, levels), expected)
    half = outputs(layer.half(), [x.half() for x in levels])
    assert half.dtype == torch.float16
    assert neck.difference(half.float(), expected.numpy()) <= 2e-2


def test_an_export_has_no_softmax_over_levels_and_few_nodes(lively: Path) -> None:
    graph = onnx.load(export(lively, "imgsz=96", "half=False")).graph
    neck_nodes = [n for n in graph.node if re.match(r"/model\.(1\d|2[0-8])/", n.name)]
    assert "Softmax" not in {node.op_type for node in neck_nodes}
    # The authors' network has 263.
    assert 200 < len(neck_nodes) <= 243


@pytest.mark.parametrize("fuse", [True, False])
def test_what_is_exported_has_no_addcmul_which_ncnn_does_not_know(fuse: bool) -> None:
    layer, levels = folded(3, 0)
    if fuse:
        layer.fuse()
    graph = torch.jit.trace(layer, (levels,)).inlined_graph  # type: ignore[no-untyped-call]
    assert "addcmul" not in {node.kind().removeprefix("aten::") for node in graph.nodes()}


def test_a_model_that_has_predicted_still_shows_its_weights(lively: Path) -> None:
    model = YOLO(lively)
    expected = look(lively, PHOTOGRAPHS[0], 96)
    model.model.fuse(verbose=False)
    got = look(model, PHOTOGRAPHS[0], 96)
    for fused, plain in zip(got.maps, expected.maps, strict=True):
        assert fused.weights.shape == plain.weights.shape
        assert abs(fused.weights - plain.weights).max() <= 1e-3


class Gated(LevelFusion):
    """A user's own, as CONTRIBUTING says: a learnt factor for each level, as BiFPN has."""

    def __init__(self, channels: list[int], target: int) -> None:
        super().__init__(channels, target)
        self.factors: Any = nn.Parameter(torch.arange(1.0, len(channels) + 1))

    def combine(self, levels: list[Tensor]) -> Tensor:
        factors = self.factors
        if not isinstance(factors, list):
            factors = factors / factors.sum()
        return sum(x * factors[i] for i, x in enumerate(levels))

    def fuse(self) -> None:
        """Constants, and no division."""
        if not isinstance(self.factors, list):
            factors = (self.factors / self.factors.sum()).tolist()
            del self.factors
            self.factors = factors


def test_a_fusion_of_the_users_own_is_fused_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAYERS, "Gated", Gated)
    # What registration makes of a table that has the line from the start.
    monkeypatch.setattr(tasks, "AFPN_LAYERS", frozenset(LAYERS.values()))
    monkeypatch.setattr(tasks, "Gated", Gated, raising=False)
    monkeypatch.chdir(tmp_path)
    published = (ROOT / "models" / "yolov5-afpn.yaml").read_text()
    (tmp_path / "yolov5n-gated.yaml").write_text(published.replace("AFPNFusion", "Gated"))
    torch.manual_seed(0)
    yolo: Any = YOLO("yolov5n-gated.yaml")
    neck.randomise(yolo.model).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = yolo.model(image)[0].numpy()
        fused = copy.deepcopy(yolo.model).fuse(verbose=False)
        ours = [m for m in fused.modules() if isinstance(m, LevelFusion)]
        assert [type(m) for m in ours] == [Gated] * 5
        assert all(isinstance(m.factors, list) for m in ours)
        assert neck.difference(fused(image)[0], expected) <= 1e-4
    session = onnxruntime.InferenceSession(yolo.export(format="onnx", imgsz=64))
    (exported,) = session.run(None, {"images": image.numpy()})
    assert neck.difference(torch.from_numpy(exported), expected) <= 1e-4


class Listed(nn.Module):
    """A fusion whose levels are arguments, as exporters want them."""

    def __init__(self, fusion: LevelFusion) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, *levels: Tensor) -> Tensor:
        return self.fusion([*levels])


def test_padded_and_carafe_up_to_8x(tmp_path: Path) -> None:
    torch.manual_seed(0)
    channels = [8, 16, 32, 64]
    names = [f"level{i}" for i in range(4)]
    for target in (0, 1, 3):
        model = Listed(neck.randomise(AFPNFusion(channels, target, options=("padded", "carafe"))))
        torch.onnx.export(
            model.eval(),
            tuple(pyramid(channels, 16, 1)),
            str(tmp_path / "fusion.onnx"),
            opset_version=17,
            input_names=names,
            dynamic_axes={name: {0: "batch", 2: f"h{name}", 3: f"w{name}"} for name in names},
            dynamo=False,
        )
        session = onnxruntime.InferenceSession(
            tmp_path / "fusion.onnx", providers=["CPUExecutionProvider"]
        )
        for side, batch in ((16, 1), (24, 2)):
            levels = pyramid(channels, side, batch)
            with torch.no_grad():
                expected = model(*levels)
            (got,) = session.run(None, {n: x.numpy() for n, x in zip(names, levels, strict=True)})
            assert neck.difference(torch.from_numpy(got), expected.numpy()) <= 1e-4
