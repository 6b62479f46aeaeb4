"""Parameters and multiply-adds of a detector, counted as the paper counts them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from afpn_yolo.twostage.design import Design, Sides

PROPOSALS = 1000  # that the second stage is counted for


@dataclass(frozen=True)
class Counts:
    """What a detector has and does.

    Attributes:
        parameters: All, whether they learn or not.
        neck_parameters: Those of the neck.
        gmacs: Multiply-adds of convolutions and matrices for one image, in 10^9; the paper calls
            them GFLOPs.
    """

    parameters: int
    neck_parameters: int
    gmacs: float


@torch.inference_mode()
def count(design: Design, num_classes: int = 81, size: tuple[int, int] = (640, 640)) -> Counts:
    """Count a detector without computing anything.

    Args:
        design: The detector.
        num_classes: With the background; COCO has 80 and it.
        size: Height and width of the image, multiples of 32.
    """
    with torch.device("meta"):
        model = design.build(num_classes, None, Sides()).eval()
        image = torch.zeros(1, 3, *size)
        with FlopCounterMode(display=False) as counter:
            maps = model.backbone(image)
            model.rpn.head([*maps.values()])
            pooled = torch.zeros(PROPOSALS, model.backbone.out_channels, 7, 7)
            model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))
    return Counts(
        sum(p.numel() for p in model.parameters()),
        sum(p.numel() for p in model.backbone.fpn.parameters()),
        counter.get_total_flops() / 2e9,
    )
