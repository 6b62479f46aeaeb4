"""Pooling and anchors as MMDetection's, which converted checkpoints were trained with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchvision.ops import roi_align

from afpn_yolo.twostage import fasterrcnn_resnet_afpn
from afpn_yolo.twostage.models import AlignedRoIAlign, ExactAnchors


def test_pooling_takes_the_level_of_the_size() -> None:
    torch.manual_seed(0)
    maps = {str(i): torch.randn(2, 3, 128 >> i, 128 >> i) for i in range(4)}
    maps["pool"] = torch.randn(2, 3, 8, 8)
    # Sides below 112 are for level 0, below 224 for 1, below 448 for 2.
    boxes = [
        torch.tensor([[10.0, 20, 60, 90], [0, 0, 150, 130]]),
        torch.tensor([[30.0, 40, 290, 300], [5, 5, 500, 510]]),
    ]
    found = AlignedRoIAlign()(maps, boxes, [(512, 512), (512, 512)])
    for i, level in enumerate((0, 1, 2, 3)):
        roi = torch.cat((torch.tensor([float(i // 2)]), boxes[i // 2][i % 2]))[None]
        expected = roi_align(maps[str(level)], roi, 7, 0.25 / 2**level, 0, aligned=True)
        assert torch.allclose(found[i], expected[0], atol=1e-5)


def test_pooling_of_a_ramp_is_where_it_lies() -> None:
    """On a map whose value is its x in the image, a bin has the x of its centre."""
    columns = (torch.arange(64) + 0.5) * 4
    maps = {"0": columns.expand(1, 1, 64, 64)}
    maps |= {str(i): torch.zeros(1, 1, 64 >> i, 64 >> i) for i in (1, 2, 3)}
    found = AlignedRoIAlign()(maps, [torch.tensor([[40.0, 40, 96, 96]])], [(256, 256)])
    assert torch.allclose(found[0, 0, 0], 40 + 8 * (torch.arange(7) + 0.5), atol=1e-3)


def test_anchors_are_not_rounded() -> None:
    anchors = ExactAnchors().cell_anchors[0]
    assert torch.allclose(anchors[1], torch.tensor([-16.0, -16, 16, 16]))
    wide = anchors[0]
    assert (wide[2] * 2).item() == pytest.approx(32 * 2**0.5)
    assert (wide[3] * 2).item() == pytest.approx(32 / 2**0.5)


def test_an_aligned_detector_learns_and_predicts() -> None:
    few: dict[str, Any] = {"rpn_post_nms_top_n_train": 20, "rpn_post_nms_top_n_test": 20}
    model = fasterrcnn_resnet_afpn(
        "resnet18", num_classes=3, weights_backbone=None, aligned=True, min_size=64, **few
    )
    target = {"boxes": torch.tensor([[5.0, 5, 40, 50]]), "labels": torch.tensor([1])}
    losses = model.train()([torch.rand(3, 60, 80)], [target])
    sum(losses.values()).backward()
    assert isinstance(model.rpn.anchor_generator, ExactAnchors)
    assert model.eval()([torch.rand(3, 60, 80)])[0]["boxes"].isfinite().all()
