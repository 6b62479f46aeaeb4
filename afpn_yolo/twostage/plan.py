"""All that decides what a training gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from afpn_yolo.base.checks import check_int, is_number
from afpn_yolo.base.errors import short_repr
from afpn_yolo.twostage.data import Source
from afpn_yolo.twostage.design import Design, Sides
from afpn_yolo.twostage.schedule import Schedule, learning_rate

WHERE = "train-rcnn"


@dataclass(frozen=True)
class Plan:
    """A training, but for the machine that it runs on.

    Attributes:
        source: The data.
        design: The detector.
        sides: Sizes of the images.
        schedule: Epochs and steps.
        weights_backbone: torchvision's name of weights (`IMAGENET1K_V1`), a file of a ResNet's
            tensors, or None to start untrained.
        trainable_layers: Of the backbone; None leaves it to torchvision: the last three of one
            with weights, all five of one without.
        batch: Images a step, over all processes.
        rate: Learning rate; None takes the paper's for this batch.
        momentum, decay: SGD's.
        warmup: Iterations in which the rate rises.
        clip: Largest norm of the gradient; 0 leaves it as it is.
        flip, crop: See `data.augmentation`.
        half: Mixed precision.
        seed: Of everything random.

    Raises:
        ValueError: On a number that can't be.
    """

    source: Source
    design: Design = field(default_factory=Design)
    sides: Sides = field(default_factory=Sides)
    schedule: Schedule = field(default_factory=lambda: Schedule(12, (8, 11)))
    weights_backbone: str | None = None
    trainable_layers: int | None = None
    batch: int = 8
    rate: float | None = None
    momentum: float = 0.9
    decay: float = 1e-4
    warmup: int = 500
    clip: float = 0.0
    flip: float = 0.5
    crop: float = 1.0
    half: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_int(WHERE, "batch", self.batch, 1)
        check_int(WHERE, "warmup", self.warmup, 0)
        check_int(WHERE, "seed", self.seed, 0)
        if self.trainable_layers is not None:
            check_int(WHERE, "trainable layers", self.trainable_layers, 0, 5)
        for name, value, most in (
            ("lr", self.rate or 0.0, 10.0),
            ("momentum", self.momentum, 1.0),
            ("weight decay", self.decay, 1.0),
            ("clip", self.clip, float("inf")),
            ("flip", self.flip, 1.0),
            ("crop", self.crop, 1.0),
        ):
            if not is_number(value) or not 0 <= value <= most:
                raise ValueError(
                    f"{WHERE}: {name} must be from 0 to {most:g}, got {short_repr(value)}"
                )
        if not self.crop:
            raise ValueError(f"{WHERE}: crop is the smallest share of a side, so not 0")
        if not isinstance(self.half, bool):
            raise ValueError(f"{WHERE}: amp must be True or False, got {short_repr(self.half)}")

    @property
    def learning_rate(self) -> float:
        """The one asked for, or the paper's."""
        return learning_rate(self.batch) if self.rate is None else self.rate

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Plan:
        """What `as_dict` gave."""
        sides, schedule = plain["sides"], plain["schedule"]
        parts = {
            "source": Source(**plain["source"]),
            "design": Design(**plain["design"]),
            "sides": Sides(tuple(sides["shorter"]), sides["longest"]),
            "schedule": Schedule(schedule["epochs"], tuple(schedule["steps"])),
        }
        return cls(**{**plain, **parts})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def differences(there: Mapping[str, Any], here: Plan) -> list[str]:
    """Where a kept plan is another one: `batch: 8 there, 4 here`."""
    return [
        f"{key}: {short_repr(there.get(key))} there, {short_repr(value)} here"
        for key, value in here.as_dict().items()
        if there.get(key) != value
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
