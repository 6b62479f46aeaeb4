"""A checkpoint of the authors' becomes one of Ultralytics' that computes the same."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
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
from afpn_yolo.upstream.models import build_model
from afpn_yolo.upstream.neck import run_rows
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
    prefix = {"n": "", "s": "module."}[scale]  # DistributedDataParallel's
    content = {"state_dict": {prefix + k: v for k, v in tensors.items()}, "meta": {"epoch": 300}}
    torch.save(content, source)
    # A YAML of the user's own under the shipped name must not be what is built.
    (tmp_path / "yolov5-afpn.yaml").write_text("nc: 1\n")
    monkeypatch.chdir(tmp_path)
    result = convert(source, target, nc=7)
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(source.stat().st_mode)
    assert f"YOLOv5-{scale}" in result.what
    assert set(result.dropped) == {*HEAD, "meta (beside state_dict)"}
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


def change(key: str, value: Tensor | None) -> Callable[[Theirs], Any]:
    def apply(tensors: Theirs) -> Any:
        rest = {k: v for k, v in tensors.items() if k != key}
        return {"state_dict": rest if value is None else {**rest, key: value}}

    return apply


NO_NECK = {"state_dict": {"backbone.stem.conv.weight": torch.zeros(16, 3, 6, 6)}}
STEM = "backbone.stem.conv.weight"
NORM = "neck.body.0.asff_bot2.conv.bn.weight"
BIAS = "neck.body.0.blocks_bot3.0.conv1.bias"
FUSE = "neck.body.0.asff_bot2.conv.conv.weight"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: {"state_dict": {}}, "state_dict"),
        (lambda t: [1, 2], "state_dict"),
        (lambda t: NO_NECK, "not AFPN"),
        (change(STEM, None), "stem"),
        (change(STEM, torch.zeros(24, 3, 6, 6)), "24 channels"),
        (change(STEM, torch.tensor(1.0)), "stem"),
        (change(NORM, torch.zeros(3)), "shape"),
        (change(BIAS, torch.zeros(3)), "shape"),
        (change(FUSE, torch.zeros(64, 64, 1, 1)), "shape"),
        (change(FUSE, None), f"lacks {FUSE}"),
        (change("neck.extra.weight", torch.zeros(1)), "neck.extra.weight"),
    ],
)
def test_what_is_no_such_checkpoint(
    make: Callable[[Theirs], Any], message: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "theirs.pth", tmp_path / "ours.pt"
    torch.save(make(their_checkpoint("n")), source)
    with pytest.raises(ValueError, match=message):
        convert(source, target)
    assert not target.exists()


def test_files_that_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "empty.pth").touch()
    torch.save({"state_dict": their_checkpoint("n")}, tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:100_000])
    for name in ("text.pth", "empty.pth", "half.pth", "whole.pth", "missing.pth", "."):
        path = tmp_path / name
        assert main(["convert", str(path), str(tmp_path / "new.pt"), "--scale", "s"]) == 2
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
    assert convert(source, tmp_path / "ours.pt").dropped[-1] == "x (beside state_dict)"
    assert not Evil.ran
