"""torchvision's detectors with AFPN: Faster R-CNN, Dynamic R-CNN, and all that take a backbone."""

from afpn_yolo.twostage.models import fasterrcnn_resnet_afpn, resnet_afpn_backbone
from afpn_yolo.twostage.pyramid import AsymptoticFeaturePyramid
from afpn_yolo.twostage.roi_heads import DynamicRoIHeads

__all__ = [
    "AsymptoticFeaturePyramid",
    "DynamicRoIHeads",
    "fasterrcnn_resnet_afpn",
    "resnet_afpn_backbone",
]
