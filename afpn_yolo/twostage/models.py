"""Faster R-CNN on a ResNet with AFPN, with torchvision's interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model
from torchvision.models._api import WeightsEnum
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import (
    BackboneWithFPN,
    _resnet_fpn_extractor,
    _validate_trainable_layers,
)
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign, roi_align
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock
from torchvision.ops.poolers import _convert_to_roi_format, _setup_scales

from afpn_yolo.twostage.pyramid import (
    LAST_LEVELS,
    AsymptoticFeaturePyramid,
    BottomUpPath,
    check_choice,
)
from afpn_yolo.twostage.roi_heads import DynamicRoIHeads
from afpn_yolo.upstream.models import load_exactly

NECKS = ("afpn", "fpn", "pafpn")
BACKBONES = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    *("wide_resnet50_2", "wide_resnet101_2"),
)
OUT_CHANNELS = 256
PROPOSALS = 1000  # for which `cost` counts the second stage
DYNAMIC_RPN_NMS = 0.85  # Dynamic R-CNN's, where Faster R-CNN has 0.7

Weights: TypeAlias = WeightsEnum | str | Mapping[str, Tensor] | None


class AlignedRoIAlign(MultiScaleRoIAlign):  # type: ignore[misc]
    """MMDetection's RoIAlign: pixels have their centres at halves, bins as many samples as fit."""

    def __init__(self) -> None:
        super().__init__(("0", "1", "2", "3"), 7, 0)

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """From maps (B, C, H_i, W_i) and the boxes of each image, to (boxes, C, 7, 7)."""
        maps = [x[name] for name in self.featmap_names]
        self.scales, self.map_levels = _setup_scales(
            maps, image_shapes, self.canonical_scale, self.canonical_level
        )
        rois, levels = _convert_to_roi_format(boxes), self.map_levels(boxes)
        places = [torch.where(levels == i)[0] for i in range(len(maps))]
        pooled = [
            roi_align(level, rois[place], self.output_size, scale, self.sampling_ratio, True)
            for level, place, scale in zip(maps, places, self.scales, strict=True)
        ]
        # Not by assignment to places: the exporter would fix how many there are.
        return torch.cat(pooled)[torch.cat(places).argsort()]


class ExactAnchors(AnchorGenerator):  # type: ignore[misc]
    """MMDetection's three anchors a place, whose sides are not rounded to pixels."""

    def __init__(self) -> None:
        super().__init__(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)

    def generate_anchors(
        self,
        scales: Sequence[int],
        aspect_ratios: Sequence[float],
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> Tensor:
        """(anchors, 4) left, top, right, bottom around a place; a ratio is height over width."""
        sides = torch.as_tensor(scales, dtype=dtype, device=device)
        heights = torch.as_tensor(aspect_ratios, dtype=dtype, device=device).sqrt()[:, None] * sides
        widths = sides**2 / heights
        half = torch.stack((widths.flatten(), heights.flatten()), 1) / 2
        return torch.cat((-half, half), 1)


def resnet_afpn_backbone(
    *,
    backbone_name: str,
    weights: Weights,
    norm_layer: Callable[..., nn.Module] = FrozenBatchNorm2d,
    trainable_layers: int = 3,
    returned_layers: Sequence[int] | None = None,
    extra_blocks: ExtraFPNBlock | None = None,
    neck: str = "afpn",
    upsample: str = "bilinear",
    fusion: str = "asff",
    p6: str = "pool",
) -> BackboneWithFPN:
    """A ResNet with AFPN, as torchvision's `resnet_fpn_backbone`, which has the same arguments.

    It is a backbone for `FasterRCNN`, `MaskRCNN`, `RetinaNet`, `FCOS` and others.

    Args:
        backbone_name: One of `BACKBONES`.
        weights: torchvision's, or a ResNet's tensors by torchvision's names.
        norm_layer: Of the ResNet.
        trainable_layers: How many layers of the ResNet learn, 0 to 5, counted from the last.
        returned_layers: Which of its layers 1 to 4 the neck takes; all by default.
        extra_blocks: What makes further levels; by default what `p6` says.
        neck: `afpn`; `fpn` or `pafpn` to compare with.
        upsample: AFPN's: `bilinear` or `carafe`.
        fusion: AFPN's: `asff`, `sum` or `concat`.
        p6: One more level: `pool`, every second pixel of P5 (the published code), or `conv`, two
            convolutions (the paper's text).

    Raises:
        ValueError: On a name or number that isn't among these.
    """
    check_choice("backbone", backbone_name, BACKBONES)
    check_choice("neck", neck, NECKS)
    check_choice("p6", p6, LAST_LEVELS)
    layers = [*(returned_layers or (1, 2, 3, 4))]
    start = None if isinstance(weights, Mapping) else weights
    body = get_model(backbone_name, weights=start, norm_layer=norm_layer)
    if isinstance(weights, Mapping):
        body.fc = nn.Identity()
        load_exactly(body, weights, f"weights of {backbone_name}")
    last = extra_blocks or LAST_LEVELS[p6](OUT_CHANNELS)
    path = BottomUpPath(len(layers), OUT_CHANNELS, last) if neck == "pafpn" else last
    backbone = _resnet_fpn_extractor(body, trainable_layers, layers, path)
    if neck == "afpn":
        channels = [body.inplanes // 8 * 2 ** (layer - 1) for layer in layers]
        backbone.fpn = AsymptoticFeaturePyramid(
            channels, OUT_CHANNELS, last, fusion=fusion, upsample=upsample
        )
    return backbone


def fasterrcnn_resnet_afpn(
    backbone_name: str = "resnet50",
    *,
    num_classes: int = 91,
    weights_backbone: Weights = "IMAGENET1K_V1",
    trainable_backbone_layers: int | None = None,
    upsample: str = "bilinear",
    fusion: str = "asff",
    p6: str = "pool",
    dynamic: bool = False,
    neck: str = "afpn",
    aligned: bool = False,
    **kwargs: Any,
) -> FasterRCNN:
    """Faster R-CNN with AFPN, with the interface of torchvision's `fasterrcnn_resnet50_fpn`.

    Args:
        backbone_name: `resnet18`, `resnet50`, `resnet101` or another of `BACKBONES`.
        num_classes: Classes, the background among them.
        weights_backbone: torchvision's enum or a name in it, tensors by torchvision's names, or
            None. With weights the ResNet's BatchNorm is frozen.
        trainable_backbone_layers: How many of its layers learn, 0 to 5, counted from the last; by
            default 3 with weights. Without weights all do.
        upsample, fusion, p6, neck: See `resnet_afpn_backbone`.
        dynamic: Dynamic R-CNN in place of Faster R-CNN.
        aligned: Pooling and anchors where MMDetection has them; converted checkpoints need it.
        kwargs: For torchvision's `FasterRCNN`: `min_size`, `max_size`, `box_score_thresh`, ...

    Raises:
        ValueError: On a name or number that isn't among those allowed.

    Example:
        >>> model = fasterrcnn_resnet_afpn("resnet18", num_classes=3, weights_backbone=None)
        >>> sorted(model.eval()([torch.rand(3, 320, 416)])[0])
        ['boxes', 'labels', 'scores']
    """
    trained = weights_backbone is not None
    backbone = resnet_afpn_backbone(
        backbone_name=backbone_name,
        weights=weights_backbone,
        norm_layer=FrozenBatchNorm2d if trained else nn.BatchNorm2d,
        trainable_layers=_validate_trainable_layers(trained, trainable_backbone_layers, 5, 3),
        neck=neck,
        upsample=upsample,
        fusion=fusion,
        p6=p6,
    )
    if dynamic:
        kwargs.setdefault("rpn_nms_thresh", DYNAMIC_RPN_NMS)
    if aligned:
        kwargs.setdefault("box_roi_pool", AlignedRoIAlign())
        kwargs.setdefault("rpn_anchor_generator", ExactAnchors())
    model = FasterRCNN(backbone, num_classes, **kwargs)
    if dynamic:
        model.roi_heads = DynamicRoIHeads.in_place_of(model.roi_heads)
    return model


@torch.inference_mode()
def cost(model: FasterRCNN, size: tuple[int, int] = (640, 640)) -> tuple[int, float]:
    """Parameters and GFLOPs of a detector for one image and 1000 proposals, as in the paper.

    A multiply-add counts two here and one in the paper.

    Args:
        model: Built on the device "meta", nothing is computed.
        size: Height and width of the image, multiples of 32.
    """
    device = next(model.parameters()).device
    model.eval()
    with FlopCounterMode(display=False) as counter:
        maps = model.backbone(torch.zeros(1, 3, *size, device=device))
        model.rpn.head([*maps.values()])
        pooled = torch.zeros(PROPOSALS, model.backbone.out_channels, 7, 7, device=device)
        model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 1e9
