"""Two-stage detectors with AFPN, and others that take a backbone: torchvision's, with our layers."""

from afpn_yolo.twostage.models import fasterrcnn_resnet_afpn, resnet_afpn_backbone
from afpn_yolo.twostage.pyramid import AsymptoticFeaturePyramid
from afpn_yolo.twostage.roi_heads import DynamicRoIHeads

__all__ = [
    "AsymptoticFeaturePyramid",
    "DynamicRoIHeads",
    "fasterrcnn_resnet_afpn",
    "resnet_afpn_backbone",
]
