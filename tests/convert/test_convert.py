"""Checkpoints of the authors' become ours, YOLOv5 and two-stage, that compute the same."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.cli.__main__ import main
from afpn_yolo.convert import backbone_names, convert
from afpn_yolo.graft.shapes import run_rows
from afpn_yolo.twostage import fasterrcnn_resnet_afpn
from afpn_yolo.twostage.checkpoint import open_detector
from afpn_yolo.twostage.models import AlignedRoIAlign
from afpn_yolo.upstream.models import build_model
from tests import neck

Theirs = dict[str, Tensor]


def their_conv(tensors: Theirs, name: str, x: Tensor, stride: int = 1) -> Tensor:
    """MMCV's ConvModule: convolution, BatchNorm, SiLU."""
    weight = tensors[f"backbone.{name}.conv.weight"]
    x = functional.conv2d(x, weight, stride=stride, padding=(weight.shape[2] - 1) // 2)
    leaves = ("running_mean", "running_var", "weight", "bias")
    mean, var, scale, shift = (tensors[f"backbone.{name}.bn.{leaf}"] for leaf in leaves)
    return functional.silu(functional.batch_norm(x, mean, var, scale, shift, eps=1e-3))


def their_backbone(tensors: Theirs, image: Tensor) -> list[Tensor]:
    """Written from the description of their names, independently of Ultralytics' code."""
    outputs = [their_conv(tensors, "stem", image, 2)]
    for k, blocks in enumerate((1, 2, 3, 1), 1):
        csp = f"stage{k}.1"
        x = their_conv(tensors, f"stage{k}.0", outputs[-1], 2)
        main, short = (their_conv(tensors, f"{csp}.{one}_conv", x) for one in ("main", "short"))
        for i in range(blocks):
            inner = their_conv(tensors, f"{csp}.blocks.{i}.conv1", main)
            main = main + their_conv(tensors, f"{csp}.blocks.{i}.conv2", inner)
        outputs.append(their_conv(tensors, f"{csp}.final_conv", torch.cat((main, short), 1)))
    x = their_conv(tensors, "stage4.2.conv1", outputs[-1])
    pooled = [functional.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13)]
    return [*outputs[2:4], their_conv(tensors, "stage4.2.conv2", torch.cat((x, *pooled), 1))]


HEAD = {
    f"bbox_head.head_module.convs_pred.{i}.{part}": torch.zeros(255)
    for i in range(3)
    for part in ("weight", "bias")
}


@cache
def their_checkpoint(scale: str) -> Theirs:
    torch.manual_seed(0)
    model: Any = build_model("yolov5-afpn.yaml", scale, 1)
    rows = neck.randomise(model.model).state_dict()
    tensors = {
        f"backbone.{theirs}.{leaf}": rows[f"{ours}.{leaf}"]
        for theirs, ours in backbone_names(model.model[:-1]).items()
        for leaf in ("weight", *("bias", "running_mean", "running_var") * theirs.endswith("bn"))
    }
    golden = neck.authors_tensors(neck.golden(f"afpn3-{scale}"))
    return tensors | {f"neck.{k}": v for k, v in golden.items()} | HEAD


@pytest.mark.parametrize("scale", ["n", "s"])
def test_backbone_and_neck_compute_the_same(
    scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = their_checkpoint(scale)
    source, target = tmp_path / "theirs.pth", tmp_path / "new" / "ours.pt"
    torch.save({"state_dict": tensors, "meta": {"epoch": 300}}, source)
    # A YAML of the user's own under the shipped name must not be what is built.
    (tmp_path / "yolov5-afpn.yaml").write_text("nc: 1\n")
    monkeypatch.chdir(tmp_path)
    result = convert(source, target, nc=7)
    assert f"YOLOv5-{scale}" in result.what
    assert set(result.dropped) == set(HEAD)
    assert set(result.carried) == set(tensors) - set(HEAD)

    model = YOLO(target).model
    image = torch.rand(1, 3, 64, 96)
    arrays = neck.golden(f"afpn3-{scale}")
    with torch.no_grad():
        expected = their_backbone(tensors, image)
        got, x = [], image
        for row, layer in enumerate(model.model[:10]):
            x = layer(x)
            got += [x] if row in (4, 6, 9) else []
        for a, b in zip(got, expected, strict=True):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))
        features = dict(zip((4, 6, 9), neck.inputs(arrays), strict=True))
        outputs = run_rows(model.model, features, range(10, 29))
    for i, row in enumerate((26, 27, 28)):
        assert neck.difference(outputs[row], arrays[f"eval_eps1e-05_out{i}"]) <= 1e-5

    # Ultralytics builds the model anew when it trains: then, too.
    rebuilt = DetectionModel(model.yaml, nc=3, verbose=False)
    rebuilt.load(model, verbose=False)
    with torch.no_grad():
        outputs = run_rows(rebuilt.eval().model, features, range(10, 29))
    assert neck.difference(outputs[26], arrays["eval_eps1e-05_out0"]) <= 1e-5


@cache
def their_detector() -> Theirs:
    """ResNet-18 with their neck; RPN and box head by their names, drawn at random."""
    torch.manual_seed(0)
    arrays = neck.golden("afpn4")
    # The golden neck ends in 64 channels, a detector's in 256.
    wide = ("conv00.", "conv11.", "conv22.", "conv33.")
    keys = map(str, arrays["keys"])
    arrays["keys"] = [k.replace("(64,", "(256,") if k.startswith(wide) else k for k in keys]
    tensors = {f"neck.{k}": v for k, v in neck.authors_tensors(arrays).items()}
    body = fasterrcnn_resnet_afpn("resnet18", weights_backbone=None).backbone.body
    tensors |= {f"backbone.{k}": v for k, v in body.state_dict().items()}
    shapes: dict[str, tuple[int, ...]] = {
        "rpn_head.rpn_conv": (256, 256, 3, 3),
        "rpn_head.rpn_cls": (3, 256, 1, 1),
        "rpn_head.rpn_reg": (12, 256, 1, 1),
        "roi_head.bbox_head.shared_fcs.0": (1024, 256 * 49),
        "roi_head.bbox_head.shared_fcs.1": (1024, 1024),
        "roi_head.bbox_head.fc_cls": (4, 1024),
        "roi_head.bbox_head.fc_reg": (12, 1024),
    }
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = 0.02 * torch.randn(shape)
        tensors[f"{name}.bias"] = 0.02 * torch.randn(shape[0])
    return tensors


def test_a_detector_predicts_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = their_detector()
    source, target = tmp_path / "theirs.pth", tmp_path / "ours.pt"
    meta = {"dataset_meta": {"classes": ("cat", "dog", "cow")}, "epoch": 12}
    torch.save({"state_dict": tensors, "meta": meta}, source)
    assert main(["convert", str(source), str(target)]) == 0
    first, counts, *dropped = capsys.readouterr().out.splitlines()
    assert "Faster R-CNN, resnet18 with AFPN" in first
    counters = {k for k in tensors if k.endswith("num_batches_tracked")}
    assert {line.strip() for line in dropped} == counters
    assert counts.startswith(f"{len(tensors) - len(counters)} tensors")
    model, names = open_detector(target)
    assert isinstance(model.roi_heads.box_roi_pool, AlignedRoIAlign)
    assert names == {0: "cat", 1: "dog", 2: "cow"}
    head = "roi_head.bbox_head"
    features = torch.randn(5, 256, 7, 7)
    with torch.no_grad():
        scores, boxes = model.roi_heads.box_predictor(model.roi_heads.box_head(features))
        x = features.flatten(1)
        for i in (0, 1):
            name = f"{head}.shared_fcs.{i}"
            x = (x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]).relu()
        expected = x @ tensors[f"{head}.fc_cls.weight"].T + tensors[f"{head}.fc_cls.bias"]
        deltas = x @ tensors[f"{head}.fc_reg.weight"].T + tensors[f"{head}.fc_reg.bias"]
    # Theirs has the background last, torchvision first.
    assert torch.allclose(scores, expected[:, [3, 0, 1, 2]], atol=1e-5)
    assert torch.allclose(boxes[:, 4:], deltas, atol=1e-5)
    assert torch.equal(model.backbone.body.conv1.weight, tensors["backbone.conv1.weight"])
    assert torch.equal(model.rpn.head.bbox_pred.bias, tensors["rpn_head.rpn_reg.bias"])


NO_NECK = {"backbone.stem.conv.weight": torch.zeros(16, 3, 6, 6)}
STEM = "backbone.stem.conv.weight"
NORM = "neck.body.0.asff_bot2.conv.bn.weight"
BIAS = "neck.body.0.blocks_bot3.0.conv1.bias"
FUSE = "neck.body.0.asff_bot2.conv.conv.weight"
SCORE = "rpn_head.rpn_cls.weight"


@pytest.mark.parametrize(
    ("change", "without", "message"),
    [
        ({}, "", "state_dict"),
        (NO_NECK, "", "not AFPN"),
        ({}, STEM, "stem"),
        ({STEM: torch.zeros(24, 3, 6, 6)}, "-", "channels"),
        ({STEM: torch.tensor(1.0)}, "-", "stem"),
        ({NORM: torch.zeros(3)}, "-", "shape"),
        ({BIAS: torch.zeros(3)}, "-", "shape"),
        ({FUSE: torch.zeros(64, 64, 1, 1)}, "-", "shape"),
        ({}, FUSE, f"lacks {FUSE}"),
        ({"neck.extra.weight": torch.zeros(1)}, "-", "neck.extra.weight"),
        ({"roi_head": None}, SCORE, SCORE),
        ({"roi_head": None}, "roi_head.bbox_head.fc_cls", "fc_cls"),
        ({"roi_head": None}, "backbone.layer3.1", "layer3"),
        ({"roi_head": None, SCORE: torch.zeros(3, 8, 1, 1)}, "-", "shape"),
        ({"roi_head": None}, "backbone.layer1.0.conv2", "layer1.0.conv2.weight is missing"),
    ],
)
def test_what_is_no_such_checkpoint(
    change: dict[str, Any], without: str, message: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "theirs.pth", tmp_path / "ours.pt"
    tensors = their_detector() if "roi_head" in change else their_checkpoint("n")
    kept = {key: value for key, value in tensors.items() if not key.startswith(without)}
    torch.save({"state_dict": kept | change}, source)
    with pytest.raises(ValueError, match=message):
        convert(source, target)
    assert not target.exists()


def test_files_that_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "empty.pth").touch()
    torch.save({"state_dict": their_checkpoint("n")}, tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:100_000])
    for name in ("text.pth", "empty.pth", "half.pth", "missing.pth", "."):
        path = tmp_path / name
        assert main(["convert", str(path), str(tmp_path / "new.pt")]) == 2
        error = capsys.readouterr().err
        assert str(path) in error
        assert error.count("\n") == 1


class HistoryBuffer:
    """As MMEngine saves some beside the weights."""

    def __init__(self) -> None:
        self.values, self.last = np.arange(3.0), np.float64(2)


class Evil:
    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Evil, "ran", True)


def test_foreign_objects_are_passed_over_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "evil.pth"
    hub = {"log_scalars": {"train/loss": HistoryBuffer()}}
    torch.save({"state_dict": their_checkpoint("n"), "message_hub": hub, "x": Evil()}, source)
    monkeypatch.delattr(sys.modules[__name__], "HistoryBuffer")
    assert convert(source, tmp_path / "ours.pt").dropped == tuple(HEAD)
    assert not Evil.ran
