"""Checkpoints of the detectors here: tensors and plain values, so nothing in them is run."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from afpn_yolo.base.files import written_whole
from afpn_yolo.twostage.design import Design, Sides

FORMAT = "afpn_yolo.twostage"
Content = dict[str, Any]
BODY = "backbone.body."  # the ResNet in a detector


def save(path: Path, content: Content) -> None:
    """Write a checkpoint, whole or not at all."""
    with written_whole(path) as part:
        torch.save({"format": FORMAT, **content}, part)


def described(model: FasterRCNN, design: Design, sides: Sides, names: dict[int, str]) -> Content:
    """What `open_detector` needs."""
    return {
        "design": asdict(design),
        "sides": {"shorter": [*sides.shorter], "longest": sides.longest},
        "names": names,
        "model": model.state_dict(),
    }


def is_detector(path: Path) -> bool:
    """Whether a file is one of these checkpoints."""
    try:
        return path.suffix == ".pt" and bool(read(path, mmap=True))
    except (OSError, ValueError):
        return False


def read(path: Path, mmap: bool = False) -> Content:
    """Read a checkpoint.

    Args:
        path: The file.
        mmap: Leave the tensors in the file until they are used.

    Raises:
        OSError: When the file can't be read.
        ValueError: When it is none of these.
    """
    with path.open("rb"):
        pass  # an error of the system's names the file
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError):
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: no checkpoint of a two-stage detector from afpn train-rcnn")
    return content


def rebuilt(content: Content, trainable_layers: int | None = None) -> FasterRCNN:
    """The detector that a checkpoint holds, in training mode."""
    tensors: dict[str, Tensor] = content["model"]
    body = {k.removeprefix(BODY): v for k, v in tensors.items() if k.startswith(BODY)}
    # A backbone that started from weights has its BatchNorm frozen, which counts no batches.
    started = None if "bn1.num_batches_tracked" in body else body
    sides = Sides(tuple(content["sides"]["shorter"]), content["sides"]["longest"])
    classes = len(content["names"]) + 1
    model = Design(**content["design"]).build(classes, started, sides, trainable_layers)
    model.load_state_dict(tensors)
    return model


def open_detector(path: Path) -> tuple[FasterRCNN, dict[int, str]]:
    """Open a checkpoint: the detector, ready to predict, and its classes from 0 on.

    A prediction's `labels` count from 1, since 0 is torchvision's background.

    Raises:
        OSError, ValueError: See `read`.
    """
    content = read(path)
    try:
        return rebuilt(content).eval(), dict(content["names"])
    except (RuntimeError, KeyError, TypeError):  # torch's message is a page
        raise ValueError(
            f"{path}: its tensors don't fit the detector that it names; it was made by other "
            "versions of torchvision or afpn_yolo, or changed"
        ) from None
