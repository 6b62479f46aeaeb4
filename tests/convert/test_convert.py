"""A checkpoint of the authors' becomes one of Ultralytics' that computes the same."""

from __future__ import annotations

import stat
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.cli.__main__ import main
from afpn_yolo.convert import convert
from afpn_yolo.upstream.neck import run_rows
from tests import neck


class TheirConv(nn.Module):
    """MMCV's ConvModule, as far as YOLOv5 needs it."""

    def __init__(self, c_in: int, c_out: int, k: int = 1, s: int = 1, p: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, k, s, k // 2 if p is None else p, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(self.bn(self.conv(x)))


class TheirBlock(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = TheirConv(c, c), TheirConv(c, c, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class TheirC3(nn.Module):
    def __init__(self, c: int, n: int) -> None:
        super().__init__()
        self.main_conv, self.short_conv = TheirConv(c, c // 2), TheirConv(c, c // 2)
        self.final_conv = TheirConv(c, c)
        self.blocks = nn.Sequential(*(TheirBlock(c // 2) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        return self.final_conv(torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), 1))


class TheirPool(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = TheirConv(c, c // 2), TheirConv(c * 2, c)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self.conv1(x)]
        outputs += [nn.functional.max_pool2d(outputs[0], k, 1, k // 2) for k in (5, 9, 13)]
        return self.conv2(torch.cat(outputs, 1))


class TheirBackbone(nn.Module):
    """Written from the description of their names, independently of Ultralytics' code."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = TheirConv(3, width, 6, 2, 2)
        for k, blocks in enumerate((1, 2, 3, 1), 1):
            c = width * 2**k
            parts: list[nn.Module] = [TheirConv(c // 2, c, 3, 2), TheirC3(c, blocks)]
            setattr(self, f"stage{k}", nn.Sequential(*parts, *([TheirPool(c)] if k == 4 else [])))

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = [self.stem(x)]
        for k in range(1, 5):
            outputs.append(getattr(self, f"stage{k}")(outputs[-1]))
        return outputs[2:]


HEAD = {
    f"bbox_head.head_module.convs_pred.{i}.{part}": torch.zeros(255)
    for i in range(3)
    for part in ("weight", "bias")
}
Theirs = dict[str, Tensor]


def their_checkpoint(scale: str) -> tuple[TheirBackbone, Theirs]:
    torch.manual_seed(0)
    backbone = TheirBackbone({"n": 16, "s": 32}[scale]).eval()
    neck.randomise(backbone)
    tensors = {f"backbone.{k}": v for k, v in backbone.state_dict().items()}
    golden = neck.authors_tensors(neck.golden(f"afpn3-{scale}"))
    tensors |= {f"neck.{k}": v for k, v in golden.items()}
    return backbone, tensors | HEAD


@pytest.mark.parametrize("scale", ["n", "s"])
def test_backbone_and_neck_compute_the_same(
    scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, tensors = their_checkpoint(scale)
    source, target = tmp_path / "theirs.pth", tmp_path / "new" / "ours.pt"
    torch.save({"state_dict": tensors, "meta": {"epoch": 300}}, source)
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
        expected = backbone(image)
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


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "theirs.pth", tmp_path / "ours.pt"
    tensors = {f"module.{k}": v for k, v in their_checkpoint("n")[1].items()}
    torch.save({"state_dict": tensors}, source)
    assert main(["convert", str(source), str(target), "--scale", "n", "--nc", "4"]) == 0
    output = capsys.readouterr().out
    assert "YOLOv5-n with AFPN, 4 classes" in output
    assert all(key in output for key in HEAD)


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
    torch.save(make(their_checkpoint("n")[1]), source)
    with pytest.raises(ValueError, match=message):
        convert(source, target)
    assert not target.exists()


def test_files_that_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "empty.pth").touch()
    torch.save({"state_dict": their_checkpoint("n")[1]}, tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:100_000])
    for name in ("text.pth", "empty.pth", "half.pth", "whole.pth", "missing.pth", "."):
        path = tmp_path / name
        assert main(["convert", str(path), str(tmp_path / "new.pt"), "--scale", "s"]) == 2
        error = capsys.readouterr().err
        assert str(path) in error
        assert error.count("\n") == 1


class Evil:
    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Evil, "ran", True)


def test_nothing_in_the_file_is_run(tmp_path: Path) -> None:
    source = tmp_path / "evil.pth"
    torch.save({"state_dict": their_checkpoint("n")[1], "x": Evil()}, source)
    assert convert(source, tmp_path / "ours.pt").dropped[-1] == "x (beside state_dict)"
    assert not Evil.ran


def test_log_buffers_of_mmengine_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What MMEngine saves beside the weights, written without MMEngine."""
    import numpy as np

    module = types.ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def __init__(self) -> None:
            self.values = np.arange(3.0)
            self.last = np.float64(2)

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = tmp_path / "theirs.pth"
    hub = {"log_scalars": {"train/loss": HistoryBuffer()}}
    torch.save({"state_dict": their_checkpoint("n")[1], "message_hub": hub}, source)
    for name in ("mmengine", "mmengine.logging", module.__name__):
        monkeypatch.delitem(sys.modules, name)
    assert "YOLOv5-n" in convert(source, tmp_path / "ours.pt").what
