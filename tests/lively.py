"""A model that was never trained and yet answers differently to different photographs."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.cfg import parse_key_value_pair
from ultralytics.utils import ASSETS

from afpn_yolo.upstream.models import build_model, save_checkpoint
from tests.shared import made_once

NAMES = {0: "person", 1: "bus", 2: "tie", 3: "never there"}
PHOTOGRAPHS = (ASSETS / "bus.jpg", ASSETS / "zidane.jpg")


def enliven(model: Any) -> nn.Module:
    """Give a fresh model a neck that does something everywhere and scores that spread.

    As it is built, or after two epochs, it says next to nothing: any export would agree with it.
    """
    model.train()
    for m in model.model[len(model.yaml["backbone"]) : -1].modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight)
        elif isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
    head = model.model[-1]
    for branch in (*head.cv3, *getattr(head, "one2one_cv3", ())):  # of end-to-end heads
        nn.init.normal_(branch[-1].weight, 0, 0.3)
        nn.init.constant_(branch[-1].bias, -2)
    statistics: list[Any] = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for m in statistics:
        m.momentum = None  # the average over what follows
        m.reset_running_stats()
    with torch.no_grad():
        for side in (96, 128, 160):
            model(torch.cat([blob(path, side, side) for path in PHOTOGRAPHS]))
    for m in statistics:
        m.momentum = 0.03
        # A random network's features are a large mean and small differences. Divided by these, the
        # rounding of float32 would grow past the tolerance; in a trained network it does not.
        m.running_var.clamp_(min=0.3 * m.running_mean.square().mean())
    return model.eval()


def save_lively(fusion: str, path: Path, modest: bool = False) -> Path:
    """Write such a model of four classes; `modest` makes it find few objects, and small ones."""
    torch.manual_seed(0)
    model: Any = enliven(build_model(f"yolov5-afpn{fusion}.yaml", "n", nc=len(NAMES)))
    model.names = NAMES
    head = model.model[-1]
    for sides, scores in zip(head.cv2, head.cv3, strict=True) if modest else ():
        with torch.no_grad():
            sides[-1].bias.view(4, -1)[:, 2:] -= 8  # distances to the four sides, in strides
            scores[-1].weight *= 0.3
            scores[-1].bias -= 5.4
    save_checkpoint(model, path)
    return path


def lively_named(name: str, folder: Path) -> Path:
    """The checkpoint of such a model of any family and task, in a folder of its own."""

    def make(folder: Path) -> None:
        torch.manual_seed(0)
        opened: Any = YOLO(name)
        content = {**opened.model.yaml, "nc": len(NAMES)}
        model: Any = enliven(type(opened.model)(content, verbose=False))
        model.names, model.task = NAMES, opened.task
        save_checkpoint(model, folder / "lively.pt")

    made = made_once(f"lively-{Path(name).stem}", make)
    return Path(shutil.copy(made / "lively.pt", folder / f"{Path(name).stem}.pt"))


def photograph(path: Path, height: int, width: int) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    return cv2.resize(image, (width, height))


def small(seed: int = 0) -> np.ndarray:
    """One of the photographs, in one of seven small sizes."""
    return photograph(PHOTOGRAPHS[seed % 2], 90 + seed % 7, 120)


def blob(path: Path, height: int, width: int) -> torch.Tensor:
    """A photograph as the network's input (1, 3, height, width)."""
    image = photograph(path, height, width)[..., ::-1].transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(image))[None].float() / 255


def export(model: Path, *options: str) -> Path:
    """The ONNX of a checkpoint, beside it, as `yolo export` makes it; each is made once."""
    asked = [model.read_bytes(), *(option.encode() for option in sorted(options))]
    name = hashlib.sha256(b" ".join(asked)).hexdigest()[:16]

    def make(folder: Path) -> None:
        twin = shutil.copy(model, folder / "model.pt")
        YOLO(twin).export(format="onnx", **dict(map(parse_key_value_pair, options)))

    return Path(shutil.copy(made_once(name, make) / "model.onnx", model.with_suffix(".onnx")))
