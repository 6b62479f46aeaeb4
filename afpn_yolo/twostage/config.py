"""All that decides what a training of a two-stage detector gives."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import inf
from typing import Any

from torch import Tensor
from torchvision.models.detection import FasterRCNN

from afpn_yolo.base.checks import check_int, is_number
from afpn_yolo.base.errors import short_repr
from afpn_yolo.twostage.models import BACKBONES, fasterrcnn_resnet_afpn
from afpn_yolo.twostage.pyramid import check_choice

PAPER_RATE, PAPER_BATCH = 0.01, 8
PAPER_STEPS = {12: (8, 11), 24: (16, 22), 36: (27, 33)}  # "1x", "2x", and Tables I and II
WARMUP_START, GAMMA = 0.001, 0.1
# Arguments of `FasterRCNN` that `build` sets itself.
TAKEN = {"backbone", "num_classes", "min_size", "max_size", "kwargs"}


@dataclass(frozen=True)
class TrainConfig:
    """A training, by the names of the command line; what it doesn't say is the machine's.

    Attributes:
        data: A data YAML, a JSON in COCO's format, or a folder laid out as COCO's.
        val: Beside a JSON, the one to evaluate on.
        images, val_images: Folders of the JSONs' images; None looks where COCO keeps them.
        detector: `faster` or `dynamic`.
        neck, backbone, upsample, fusion, p6: See `resnet_afpn_backbone`.
        weights: See `checkpoint.backbone_weights`.
        trainable_layers: Of the backbone; None means the last three of one with weights, all five
            of one without.
        aligned: See `fasterrcnn_resnet_afpn`.
        options: More arguments of torchvision's `FasterRCNN`.
        epochs: The learning rate falls tenfold twice, see `steps`.
        batch: Images a step, over all processes.
        lr: Learning rate; None takes the paper's 0.01 at a batch of 8, in proportion.
        momentum, weight_decay: SGD's.
        warmup: Iterations in which the rate rises.
        clip: Largest norm of the gradient; 0 leaves it as it is.
        min_size: The shorter side of images in pixels; of several, one at random in training and
            the last in evaluation.
        max_size: What the longer side must not exceed; it wins.
        flip, crop: See `data.augmentation`.
        amp: Mixed precision.
        seed: Of everything random.

    Raises:
        ValueError: On a name or a number that can't be.
    """

    data: str = ""
    val: str | None = None
    images: str | None = None
    val_images: str | None = None
    detector: str = "faster"
    neck: str = "afpn"
    backbone: str = "resnet50"
    weights: str | None = None
    trainable_layers: int | None = None
    upsample: str = "bilinear"
    fusion: str = "asff"
    p6: str = "pool"
    aligned: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 12
    batch: int = 8
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: int = 500
    clip: float = 0.0
    min_size: Sequence[int] = (800,)
    max_size: int = 1333
    flip: float = 0.5
    crop: float = 1.0
    amp: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "min_size", tuple(self.min_size))  # JSON has a list
        check_choice("--detector", self.detector, ("faster", "dynamic"))
        check_choice("--resnet", self.backbone, BACKBONES)
        known = {*inspect.signature(FasterRCNN).parameters} - TAKEN
        if unknown := sorted({*self.options} - known):
            raise ValueError(f"--set {unknown[0]}: torchvision's FasterRCNN has no such argument")
        for side in (*(self.min_size or (0,)), self.max_size):
            check_int("train-rcnn", "sides of images", side, 32)
        for name, low in (("epochs", 1), ("batch", 1), ("warmup", 0), ("seed", 0)):
            check_int("train-rcnn", name, getattr(self, name), low)
        if self.trainable_layers is not None:
            check_int("train-rcnn", "trainable layers", self.trainable_layers, 0, 5)
        most = {"lr": 10, "momentum": 1, "weight_decay": 1, "clip": inf, "flip": 1, "crop": 1}
        for name, high in most.items():
            value, least = getattr(self, name), 0.01 if name == "crop" else 0
            if value is not None and not (is_number(value) and least <= value <= high):
                wanted = f"from {least} to {high}"
                raise ValueError(f"train-rcnn: {name} must be {wanted}, got {short_repr(value)}")

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> TrainConfig:
        """What `as_dict` gave, among other keys."""
        return cls(**{key.name: plain[key.name] for key in fields(cls) if key.name in plain})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return dict(json.loads(json.dumps(asdict(self))))

    @property
    def steps(self) -> tuple[int, int]:
        """The epochs from which on the learning rate is a tenth.

        The paper's for 12, 24 and 36; for other numbers in the proportions of 12.
        """
        in_proportion = round(self.epochs * 2 / 3), round(self.epochs * 11 / 12)
        return PAPER_STEPS.get(self.epochs, in_proportion)

    def rate(self, epoch: int, iteration: int) -> float:
        """The learning rate of an epoch and of an iteration, which counts over all epochs.

        In the first `warmup` iterations it rises in a straight line from a thousandth.
        """
        rate = PAPER_RATE * self.batch / PAPER_BATCH if self.lr is None else self.lr
        rate *= GAMMA ** sum(epoch >= step for step in self.steps)
        if iteration >= self.warmup:
            return rate
        return rate * (WARMUP_START + (1 - WARMUP_START) * iteration / self.warmup)

    def build(self, num_classes: int, weights: Mapping[str, Tensor] | None) -> FasterRCNN:
        """Build the detector.

        Args:
            num_classes: With the background.
            weights: The ResNet's tensors by torchvision's names; None leaves it untrained.
        """
        same = ("neck", "upsample", "fusion", "p6", "aligned", "min_size", "max_size")
        return fasterrcnn_resnet_afpn(
            self.backbone,
            num_classes=num_classes,
            weights_backbone=weights,
            # Without weights all layers learn, and torchvision warns where a number is given.
            trainable_backbone_layers=self.trainable_layers if weights else None,
            dynamic=self.detector == "dynamic",
            **{name: getattr(self, name) for name in same},
            **self.options,
        )
