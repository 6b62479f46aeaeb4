"""What is compared: necks, scales and seeds, and the conditions that all runs share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from afpn_yolo.base.errors import short_repr
from afpn_yolo.base.records import DIGEST
from afpn_yolo.compare.settings import check_settings
from afpn_yolo.plugin.lookup import scaled

PAPER = {
    "IV": ("PAFPN=yolov5.yaml", "AFPN=yolov5-afpn.yaml"),
    "V": ("sum=yolov5-afpn-sum.yaml", "concat=yolov5-afpn-concat.yaml", "ASFF=yolov5-afpn.yaml"),
}
"""The paper's tables: label=model for every neck in them."""

CONTROL = "none"  # the label of a model without a neck


@dataclass(frozen=True)
class Candidate:
    """One row of the table.

    Attributes:
        label: What the row is called.
        model: A model YAML, which starts untrained, or a `.pt`, which is fine-tuned as it is.
        scale: The YAML's scale letter; None where the file name has it, and for a `.pt`.
        digest: Of the tensors of a `.pt`, where it is known; a file can change under its name.
    """

    label: str
    model: str
    scale: str | None = None
    digest: str | None = None

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Candidate:
        """From what `asdict` wrote, among other keys; older files have fewer of ours."""
        return cls(**{key.name: record[key.name] for key in fields(cls) if key.name in record})

    @property
    def name(self) -> str:
        """Label and scale: `AFPN-n`."""
        return f"{self.label}-{self.scale}" if self.scale else self.label

    @property
    def file(self) -> str:
        """The model as `yolo` users name it: `yolov5-afpn.yaml` at scale n: `yolov5n-afpn.yaml`.

        A name of the user's own that can't hold a scale stays as it is.
        """
        return (scaled(self.model, self.scale) if self.scale else None) or self.model

    def is_model_of(self, other: Candidate) -> bool:
        """Whether both are one model, as far as is known of both."""
        known = self.digest and other.digest
        return self.model == other.model and (not known or self.digest == other.digest)

    def __str__(self) -> str:
        return f"{self.model} (tensors {self.digest[:8]})" if self.digest else self.model


@dataclass(frozen=True)
class Conditions:
    """What all runs of a comparison share.

    Attributes:
        data: Data set, as `yolo` takes it.
        epochs: Epochs of every run.
        imgsz: Image side in pixels, for training and evaluation.
        batch: Batch size over all GPUs.
        backbone: Scale letter ("" for any) -> SHA-256 of the tensors that start the backbone.
        extra: Further arguments of Ultralytics' trainer.
        data_digest: SHA-256 over files and labels of the data; None where that is not known.

    Raises:
        ValueError: On an `extra` under which runs could not be compared.
    """

    data: str
    epochs: int
    imgsz: int
    batch: int
    backbone: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    data_digest: str | None = None

    def __post_init__(self) -> None:
        check_settings(self.extra)


def differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Where the conditions of something kept differ: `epochs: 100 there, 300 here`."""
    different = [
        f"{key}: {_said(key, there.get(key))} there, {_said(key, value)} here"
        for key, value in here.items()
        if there.get(key) != value and key != DIGEST
    ]
    known = there.get(DIGEST) and here.get(DIGEST)  # a result of before 0.2 doesn't say
    if known and there[DIGEST] != here[DIGEST]:
        different.append("images or labels have changed since")
    return different


def _said(key: str, value: Any) -> str:
    """A condition in words."""
    if key == "backbone":
        given = [
            f"weights {short(digest)}{scale and f' for {scale}'}"
            for scale, digest in (value or {}).items()
        ]
        return ", ".join(given) or "random weights"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={setting}" for name, setting in value.items()) or "nothing"
    return str(value)


def short(tensors: str) -> str:
    """The start of a digest; a name of weights as it is."""
    return tensors[:12] if len(tensors) == 64 else tensors


@dataclass(frozen=True)
class Run:
    """One training."""

    neck: Candidate
    seed: int

    @property
    def name(self) -> str:
        """Folder and key: `AFPN-n-seed0`."""
        return f"{self.neck.name}-seed{self.seed}"


def parse_necks(words: Sequence[str], scales: Sequence[str]) -> list[Candidate]:
    """Read `LABEL=MODEL` or `MODEL`, at every scale.

    Raises:
        ValueError: On a file that is neither YAML nor .pt, a scale for a name that already has
            one or for a .pt, and a label that occurs twice.
    """
    necks = []
    letters: Sequence[str | None] = [*scales] or [None]
    for scale in letters:
        for word in words:
            label, _, model = word.rpartition("=")
            suffix = Path(model).suffix
            if suffix not in (".yaml", ".yml", ".pt"):
                raise ValueError(f"{word}: expected [LABEL=]MODEL with a .yaml or a .pt")
            necks.append(Candidate(label or Path(model).stem, model, _scale(model, scale)))
    names = [neck.name for neck in necks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} occurs twice: give the necks labels, LABEL=MODEL")
        wrong = re.sub(r"[\w .+-]", "", name)
        if wrong:
            raise ValueError(
                f"{name}: a label names a folder, which can't have {short_repr(wrong[0])} in it: "
                "use letters, digits, blanks and . + - _"
            )
    return necks


def _scale(model: str, scale: str | None) -> str | None:
    path = Path(model)
    if scale is None:
        return None
    if path.suffix == ".pt":  # models are held against those of their scale, and it says none
        raise ValueError(
            f"{model} beside --scales: a .pt has a scale of its own; leave --scales out, and write "
            "the YAMLs with theirs, yolov5n-afpn.yaml"
        )
    if re.search(r"yolo(e-)?v?\d+[nslmx]", path.stem):
        raise ValueError(
            f"{model} has its scale in its name: write yolov5-afpn.yaml with --scales, "
            "or yolov5n-afpn.yaml without"
        )
    return scale
