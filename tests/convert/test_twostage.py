"""A two-stage checkpoint of the authors' becomes a detector that predicts the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from afpn_yolo.cli.__main__ import main
from afpn_yolo.convert import convert
from afpn_yolo.twostage import fasterrcnn_resnet_afpn
from afpn_yolo.twostage.checkpoint import open_detector
from afpn_yolo.twostage.models import AlignedRoIAlign
from tests import neck

CLASSES = 3
Theirs = dict[str, Tensor]


@cache
def theirs() -> Theirs:
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
        "roi_head.bbox_head.fc_cls": (CLASSES + 1, 1024),
        "roi_head.bbox_head.fc_reg": (4 * CLASSES, 1024),
    }
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = 0.02 * torch.randn(shape)
        tensors[f"{name}.bias"] = 0.02 * torch.randn(shape[0])
    return tensors


def test_every_key_is_carried_or_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = theirs()
    source, target = tmp_path / "theirs.pth", tmp_path / "ours.pt"
    meta = {"dataset_meta": {"classes": ("cat", "dog", "cow")}, "epoch": 12}
    torch.save({"state_dict": tensors, "meta": meta}, source)
    assert main(["convert", str(source), str(target)]) == 0
    first, counts, *dropped = capsys.readouterr().out.splitlines()
    assert "Faster R-CNN, resnet18 with AFPN" in first
    counters = {k for k in tensors if k.endswith("num_batches_tracked")}
    assert {line.strip() for line in dropped} == counters | {"meta (beside state_dict)"}
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


SCORE = "rpn_head.rpn_cls.weight"


@pytest.mark.parametrize(
    ("change", "without", "message"),
    [
        ({}, SCORE, SCORE),
        ({}, "roi_head.bbox_head.fc_cls", "fc_cls"),
        ({}, "backbone.layer3.1", "layer3"),
        ({SCORE: torch.zeros(3, 8, 1, 1)}, "-", "shape"),
        ({}, "backbone.layer1.0.conv2", "layer1.0.conv2.weight is missing"),
    ],
)
def test_what_is_no_such_checkpoint(
    change: Theirs, without: str, message: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "theirs.pth", tmp_path / "ours.pt"
    tensors = {k: v for k, v in (theirs() | change).items() if not k.startswith(without)}
    torch.save({"state_dict": tensors}, source)
    with pytest.raises(ValueError, match=message):
        convert(source, target)
    assert not target.exists()
