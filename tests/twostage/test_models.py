"""Detectors of torchvision's with AFPN: they build, learn, predict, and count as the paper's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import ResNet18_Weights
from torchvision.models.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FrozenBatchNorm2d, roi_align
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from afpn_yolo.twostage import (
    AsymptoticFeaturePyramid,
    DynamicRoIHeads,
    fasterrcnn_resnet_afpn,
    resnet_afpn_backbone,
)
from afpn_yolo.twostage.config import TrainConfig
from afpn_yolo.twostage.models import AlignedRoIAlign, ExactAnchors, cost

SMALL: dict[str, Any] = {"min_size": 64, "max_size": 96}
FEW: dict[str, Any] = {
    **SMALL,
    "rpn_post_nms_top_n_train": 20,
    "rpn_post_nms_top_n_test": 20,
    "box_batch_size_per_image": 8,
}


def backbone(**options: Any) -> nn.Module:
    return resnet_afpn_backbone(backbone_name="resnet18", weights=None, **options)


def faster(**options: Any) -> FasterRCNN:
    options = {"num_classes": 3, "weights_backbone": None, **FEW, **options}
    return fasterrcnn_resnet_afpn("resnet18", **options)


def one_stage(detector: type[nn.Module], **options: Any) -> nn.Module:
    levels = LastLevelP6P7(256, 256)
    return detector(backbone(returned_layers=[2, 3, 4], extra_blocks=levels), 3, **SMALL, **options)


def fcos() -> nn.Module:
    anchors = AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((1.0,),) * 5)
    return one_stage(FCOS, anchor_generator=anchors)


@pytest.mark.parametrize(
    "make",
    [
        faster,
        lambda: faster(dynamic=True, upsample="carafe", p6="conv"),
        lambda: faster(fusion="sum", neck="pafpn"),
        lambda: faster(fusion="concat"),
        lambda: faster(aligned=True),
        lambda: MaskRCNN(backbone(), 3, **FEW),
        lambda: one_stage(RetinaNet),
        fcos,
    ],
    ids=["faster", "dynamic carafe", "pafpn", "concat", "aligned", "mask", "retina", "fcos"],
)
def test_builds_learns_and_predicts(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = make()
    image = torch.rand(3, 60, 80)
    boxes = torch.tensor([[5.0, 5, 40, 50], [30, 20, 70, 55]])
    target = {"boxes": boxes, "labels": torch.tensor([1, 2])}
    target["masks"] = torch.ones(2, 60, 80, dtype=torch.uint8)
    sum(model.train()([image], [target]).values()).backward()
    silent = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not silent
    found = model.eval()([image])[0]
    assert {"boxes", "labels", "scores"} <= set(found)
    assert found["boxes"].isfinite().all()


@pytest.mark.parametrize(
    ("settings", "parameters", "gmacs", "neck"),
    [
        # The paper's figures; 81 outputs, 640 x 640. The neck's, to the last parameter, are ours.
        ({}, 50.2, 90.0, 11_385_669),
        ({"p6": "conv"}, 50.2, 90.0, None),
        ({"upsample": "carafe"}, 52.2, 92.5, 11_385_669 + 1_995_208),
        ({"neck": "fpn"}, 41.5, 91.4, 3_344_384),
        ({"backbone": "resnet101"}, 68.8, 119.7, None),
    ],
    ids=["AFPN", "AFPN, P6 by convolutions", "CARAFE", "FPN", "R-101"],
)
def test_cost_is_the_papers_within_a_percent(
    settings: dict[str, Any], parameters: float, gmacs: float, neck: int | None
) -> None:
    with torch.device("meta"):
        model = TrainConfig(**settings).build(81, None)
    counted, gflops = cost(model)
    assert counted / 1e6 == pytest.approx(parameters, rel=0.01)
    assert gflops / 2 == pytest.approx(gmacs, rel=0.01)
    assert neck in (None, sum(p.numel() for p in model.backbone.fpn.parameters()))
    if not settings:
        assert cost(model, (800, 1024))[1] / 2 == pytest.approx(165.6, rel=0.01)


def test_torchvisions_habits() -> None:
    start = faster().backbone.body.state_dict()
    model = faster(weights_backbone=start)
    body = model.backbone.body
    assert model.backbone.out_channels == 256
    assert torch.equal(body.conv1.weight, start["conv1.weight"])
    assert isinstance(body.bn1, FrozenBatchNorm2d)
    learning = {name.split(".")[0] for name, p in body.named_parameters() if p.requires_grad}
    assert learning == {"layer2", "layer3", "layer4"}
    assert all(p.requires_grad for p in model.backbone.fpn.parameters())
    frozen = faster(weights_backbone=start, trainable_backbone_layers=0).backbone.body
    assert not any(p.requires_grad for p in frozen.parameters())
    untrained = faster().backbone.body
    assert isinstance(untrained.bn1, nn.BatchNorm2d)
    assert all(p.requires_grad for p in untrained.parameters())


def test_weights_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    start = {k: v + 1 for k, v in faster().backbone.body.state_dict().items()}
    start |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", lambda *_, **__: start)
    model = faster(weights_backbone="IMAGENET1K_V1")
    assert torch.equal(model.backbone.body.conv1.weight, start["conv1.weight"])


def test_dynamic() -> None:
    model = faster(dynamic=True)
    assert isinstance(model.roi_heads, DynamicRoIHeads)
    assert model.rpn.nms_thresh == 0.85
    assert faster(dynamic=True, rpn_nms_thresh=0.5).rpn.nms_thresh == 0.5


def test_two_levels_have_the_sizes_of_what_went_in() -> None:
    pyramid = AsymptoticFeaturePyramid([16, 32], 24).eval()
    maps = pyramid({"0": torch.rand(2, 16, 32, 48), "1": torch.rand(2, 32, 16, 24)})
    shapes = {name: tuple(x.shape) for name, x in maps.items()}
    assert shapes == {"0": (2, 24, 32, 48), "1": (2, 24, 16, 24)}


@pytest.mark.parametrize("option", ["backbone_name", "neck", "fusion", "upsample", "p6"])
def test_wrong_names(option: str) -> None:
    options: dict[str, Any] = {"backbone_name": "resnet18", "weights": None}
    with pytest.raises(ValueError, match="'else': choose one of"):
        resnet_afpn_backbone(**options | {option: "else"})


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
