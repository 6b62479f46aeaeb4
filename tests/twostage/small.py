"""Detectors without the 14 million weights of torchvision's box head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.models.detection import FasterRCNN, faster_rcnn

from afpn_yolo.twostage import fasterrcnn_resnet_afpn


class SmallHead(nn.Sequential):
    """In place of torchvision's `TwoMLPHead`."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(channels, 8), nn.ReLU(), nn.Linear(8, width))


def use(patch: Any) -> None:
    """Let every detector that is built from now on have the small head."""
    patch.setattr(faster_rcnn, "TwoMLPHead", SmallHead)


def backbone_file(folder: Path) -> Path:
    """Tensors of a ResNet-18, always the same ones."""
    path = folder / "resnet18.pth"
    if not path.exists():
        torch.manual_seed(0)
        torch.save(resnet18().state_dict(), path)
    return path


def lively(classes: int, **options: Any) -> FasterRCNN:
    """A detector that finds many and various objects in any picture."""
    torch.manual_seed(0)
    model = fasterrcnn_resnet_afpn(
        "resnet18", num_classes=classes + 1, weights_backbone=None, **options
    )
    # Statistics as after a training: else values grow from layer to layer, and rounding with them.
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train().backbone(torch.randn(4, 3, 160, 192))
    for layer in (model.rpn.head.cls_logits, model.roi_heads.box_predictor):
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.05)
    return model.eval()
