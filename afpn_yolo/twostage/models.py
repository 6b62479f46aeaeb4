"""Faster R-CNN on a ResNet with AFPN, with torchvision's interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model, get_model_weights
from torchvision.models._api import WeightsEnum
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import _validate_trainable_layers
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import (
    ExtraFPNBlock,
    FeaturePyramidNetwork,
)

from afpn_yolo.twostage.mmdet_compat import AlignedRoIAlign, ExactAnchors
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


class BackboneWithAFPN(nn.Module):
    """A ResNet and a neck: what torchvision's detectors take as their backbone.

    Args:
        backbone: A ResNet of torchvision's.
        return_layers: Which of its layers the neck takes -> what its map is called.
        neck: The neck, from those maps to those that come out.
        out_channels: Channels of every map that comes out.
    """

    def __init__(
        self,
        backbone: nn.Module,
        return_layers: dict[str, str],
        neck: nn.Module,
        out_channels: int = OUT_CHANNELS,
    ) -> None:
        super().__init__()
        self.body = IntermediateLayerGetter(backbone, return_layers=return_layers)
        self.fpn = neck
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W), H and W multiples of 32, to named maps, finest first."""
        maps: dict[str, Tensor] = self.fpn(self.body(x))
        return maps


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
) -> BackboneWithAFPN:
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
        p6: One level more than the neck has: `pool`, every second pixel of P5, as the published
            code has it, or `conv`, by two convolutions, as the paper's text has it.

    Raises:
        ValueError: On a name or number that isn't among these.
    """
    check_choice("backbone", backbone_name, BACKBONES)
    check_choice("neck", neck, NECKS)
    check_choice("p6", p6, LAST_LEVELS)
    layers = [*(returned_layers or (1, 2, 3, 4))]
    if not 0 <= trainable_layers <= 5:
        raise ValueError(f"trainable_layers must be from 0 to 5, got {trainable_layers}")
    if not set(layers) <= {1, 2, 3, 4}:
        raise ValueError(f"returned_layers must be from 1 to 4, got {layers}")
    loaded = weights if isinstance(weights, Mapping) else None
    body = get_model(
        backbone_name, weights=None if loaded is not None else weights, norm_layer=norm_layer
    )
    if loaded is not None:
        body.fc = nn.Identity()
        load_exactly(body, loaded, f"weights of {backbone_name}")
    _freeze(body, trainable_layers)
    channels = [body.inplanes // 8 * 2 ** (layer - 1) for layer in layers]
    last = extra_blocks or LAST_LEVELS[p6](OUT_CHANNELS)
    if neck == "afpn":
        built: nn.Module = AsymptoticFeaturePyramid(
            channels, OUT_CHANNELS, last, fusion=fusion, upsample=upsample
        )
    else:
        path = BottomUpPath(len(channels), OUT_CHANNELS, last) if neck == "pafpn" else last
        built = FeaturePyramidNetwork(channels, OUT_CHANNELS, path)
    names = {f"layer{layer}": str(i) for i, layer in enumerate(layers)}
    return BackboneWithAFPN(body, names, built)


def _freeze(body: nn.Module, trainable_layers: int) -> None:
    learning = ("layer4", "layer3", "layer2", "layer1", "conv1")[:trainable_layers]
    learning += ("bn1",) if trainable_layers == 5 else ()
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name.startswith(learning) if learning else False)


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
        weights_backbone: What the ResNet starts from: torchvision's enum or a name in it, tensors
            by torchvision's names, or None. With weights its BatchNorm is frozen.
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
        >>> found = model.eval()([torch.rand(3, 320, 416)])[0]
        >>> sorted(found)
        ['boxes', 'labels', 'scores']
    """
    check_choice("backbone", backbone_name, BACKBONES)
    if isinstance(weights_backbone, str):
        weights_backbone = get_model_weights(backbone_name)[weights_backbone]
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
        kwargs = {
            "box_roi_pool": AlignedRoIAlign(),
            "rpn_anchor_generator": ExactAnchors(),
        } | kwargs
    model = FasterRCNN(backbone, num_classes, **kwargs)
    if dynamic:
        model.roi_heads = DynamicRoIHeads.in_place_of(model.roi_heads)
    return model


@torch.inference_mode()
def cost(model: FasterRCNN, size: tuple[int, int] = (640, 640)) -> tuple[int, float]:
    """Parameters and GFLOPs of a detector, counted as the paper counts them.

    The GFLOPs, two per multiply-add, are those of convolutions and matrices for one image and 1000
    proposals; the paper's figures, half as many, count multiply-adds.

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
