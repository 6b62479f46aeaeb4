"""What a two-stage detector is made of, as a checkpoint and a table keep it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torchvision.models._api import WeightsEnum
from torchvision.models.detection import FasterRCNN

from afpn_yolo.base.checks import check_int
from afpn_yolo.twostage.models import fasterrcnn_resnet_afpn

# Arguments that `build` sets itself.
TAKEN = {"backbone", "num_classes", "min_size", "max_size", "kwargs"}


@dataclass(frozen=True)
class Sides:
    """The sizes that images are brought to, in pixels.

    Attributes:
        shorter: What the shorter side becomes; of several, one at random in training and the last
            in evaluation.
        longest: What the longer side must not exceed; it wins.

    Raises:
        ValueError: On sizes below 32, or none.
    """

    shorter: Sequence[int] = (800,)
    longest: int = 1333

    def __post_init__(self) -> None:
        if not self.shorter:
            raise ValueError("train-rcnn: name at least one size of the shorter side")
        for side in (*self.shorter, self.longest):
            check_int("train-rcnn", "sides of images", side, 32)


@dataclass(frozen=True)
class Design:
    """Arguments of `fasterrcnn_resnet_afpn`, which see; `options` are for `FasterRCNN`.

    Raises:
        ValueError: On an option that torchvision's FasterRCNN hasn't.
    """

    backbone: str = "resnet50"
    neck: str = "afpn"
    upsample: str = "bilinear"
    fusion: str = "asff"
    p6: str = "pool"
    dynamic: bool = False
    aligned: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [*inspect.signature(FasterRCNN).parameters]
        if unknown := sorted({*self.options} - ({*known} - TAKEN)):
            raise ValueError(f"--set {unknown[0]}: torchvision's FasterRCNN has no such argument")

    def build(
        self,
        num_classes: int,
        weights_backbone: WeightsEnum | str | Mapping[str, Tensor] | None,
        sides: Sides,
        trainable_layers: int | None = None,
    ) -> FasterRCNN:
        """Build the detector.

        Args:
            num_classes: With the background.
            weights_backbone: As torchvision takes it, or a ResNet's tensors by name.
            sides: Of the images.
            trainable_layers: Of the backbone, from the last; None leaves it to torchvision.

        Raises:
            ValueError: When something in the design is unknown.
        """
        return fasterrcnn_resnet_afpn(
            self.backbone,
            num_classes=num_classes,
            weights_backbone=weights_backbone,
            trainable_backbone_layers=trainable_layers,
            neck=self.neck,
            upsample=self.upsample,
            fusion=self.fusion,
            p6=self.p6,
            dynamic=self.dynamic,
            aligned=self.aligned,
            min_size=tuple(sides.shorter),
            max_size=sides.longest,
            **self.options,
        )
