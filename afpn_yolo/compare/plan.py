"""What is compared: necks at scales, runs, and the conditions that runs share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afpn_yolo.base.errors import short_repr
from afpn_yolo.base.files import is_checkpoint
from afpn_yolo.evaluation.records import DIGEST, MODEL
from afpn_yolo.plugin.lookup import scaled

PAPER = {
    "IV": ("PAFPN=yolov5.yaml", "AFPN=yolov5-afpn.yaml"),
    "V": ("sum=yolov5-afpn-sum.yaml", "concat=yolov5-afpn-concat.yaml", "ASFF=yolov5-afpn.yaml"),
}
"""The paper's tables: label=model for every neck in them."""

CONTROL = "none"  # the label of a model without a neck
QUICK_NECKS = (*PAPER["IV"], "lite=yolov5-afpn-lite.yaml")
QUICK_SEEDS = (0, 1, 2)
QUICK_IMAGES = 4_000
"""Of more training images, `--quick` takes as many, spread evenly over the whole list."""


@dataclass(frozen=True)
class Candidate:
    """One row of the table: a model YAML, which starts untrained, or a `.pt` to fine-tune.

    `scale` is the YAML's scale letter; None where the file name has it, and for a `.pt`.
    """

    label: str
    model: str
    scale: str | None = None

    @property
    def name(self) -> str:
        """Label and scale: `AFPN-n`."""
        return f"{self.label}-{self.scale}" if self.scale else self.label

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a `.pt`."""
        return is_checkpoint(self.model)

    @property
    def file(self) -> str:
        """The model as `yolo` users name it: `yolov5-afpn.yaml` at scale n: `yolov5n-afpn.yaml`.

        A name of the user's own that can't hold a scale stays as it is.
        """
        return (scaled(self.model, self.scale) if self.scale else None) or self.model


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        neck: Its row.
        seed: Of everything random.
        conditions: All else that decides its result, as plain values for JSON: `model`, what is
            built (a digest, or a row's settings), and what all runs share. Either has `epochs`.
    """

    neck: Candidate
    seed: int
    conditions: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Folder and key: `AFPN-n-seed0`."""
        return f"{self.neck.name}-seed{self.seed}"

    @property
    def epochs(self) -> int:
        """Length of the training."""
        return int(self.conditions.get("epochs") or self.conditions[MODEL]["epochs"])


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Where the conditions of two runs of one row differ: `epochs: 100 before, 300 now`.

    A digest that is None is unknown, and differs from none.
    """
    return [
        _difference(key, before.get(key), now.get(key))
        for key in {**before, **now}
        if before.get(key) != now.get(key)
        and not (key in (DIGEST, MODEL) and None in (before.get(key), now.get(key)))
    ]


def _difference(key: str, before: Any, now: Any) -> str:
    if key == DIGEST:
        return "images or labels have changed since"
    if key == MODEL and isinstance(before, str):
        return "another model was trained under this label"
    if isinstance(before, Mapping) and isinstance(now, Mapping) and key != "backbone":
        return ", ".join(differences(before, now))
    return f"{key}: {in_words(key, before)} before, {in_words(key, now)} now"


def in_words(key: str, value: Any) -> str:
    """A condition as reports and messages show it."""
    if key == "backbone":
        files = [f"{scale} {_short(digest)}".strip() for scale, digest in (value or {}).items()]
        return f"weights {', '.join(files)}" if files else "random weights"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={setting}" for name, setting in value.items())
    return "not set" if value is None else _short(str(value))


def _short(digest: str) -> str:
    return digest[:12] if re.fullmatch("[0-9a-f]{64}", digest) else digest


def parse_necks(words: Sequence[str], scales: Sequence[str]) -> list[Candidate]:
    """Read `LABEL=MODEL` or `MODEL`, at every scale.

    Raises:
        ValueError: On a file that is neither YAML nor .pt, a scale for a name that already has
            one or for a .pt, and a label that occurs twice or can't name a folder.
    """
    necks = []
    letters: Sequence[str | None] = [*scales] or [None]
    for scale in letters:
        for word in words:
            label, _, model = word.rpartition("=")
            if Path(model).suffix not in (".yaml", ".yml") and not is_checkpoint(model):
                raise ValueError(f"{word}: expected [LABEL=]MODEL with a .yaml or a .pt")
            necks.append(Candidate(label or Path(model).stem, model, scale))
            # Models are held against those of their scale, and a checkpoint names none.
            if scale and necks[-1].is_checkpoint:
                raise ValueError(
                    f"{model} beside --scales: a .pt has a scale of its own; leave --scales out, "
                    "and write the YAMLs with theirs, yolov5n-afpn.yaml"
                )
            if scale and re.search(r"yolo(e-)?v?\d+[nslmx]", Path(model).stem):
                raise ValueError(
                    f"{model} has its scale in its name: write yolov5-afpn.yaml with --scales, "
                    "or yolov5n-afpn.yaml without"
                )
    names = [neck.name for neck in necks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} occurs twice: give the necks labels, LABEL=MODEL")
        if wrong := re.sub(r"[\w .+-]", "", name):
            raise ValueError(
                f"{name}: a label names a folder, so it can't have {short_repr(wrong[0])} in it: "
                "use letters, digits, blanks and . + - _"
            )
    return necks


def quick_schedule(images: int) -> tuple[int, float]:
    """Choose the length of the runs of `--quick` by the number of training images.

    Every run sees about 20,000 images: on Aquarium (448 images, COCO backbone) a model without a
    neck was then clearly behind in every seed. At least 10 epochs, since Ultralytics warms up for
    three of them, and at most 100.

    Returns:
        Epochs of every run, and the fraction of the training images that it uses.
    """
    epochs = min(100, max(10, -(-20_000 // max(1, images))))
    return epochs, round(min(1.0, QUICK_IMAGES / max(1, images)), 4)


def default_name(data: str) -> str:
    """The name of a comparison: the data's file, or its folder where the file is `data.yaml`."""
    path = Path(data)
    return (path.absolute().parent.name if path.stem == "data" else path.stem) or "data"
