"""What this package calls of Ultralytics: models built and saved.

What it changes there is in `plugin`. No other file knows Ultralytics' internals.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import torch
import ultralytics

from afpn_yolo.files import shipped


def build_model(name: str, scale: str, nc: int) -> torch.nn.Module:
    """Build a shipped model YAML, whatever lies in the user's folder under that name.

    Args:
        name: File name without the scale letter: `yolov5-afpn.yaml`.
        scale: Scale letter.
        nc: Number of classes.
    """
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import YAML

    content = YAML.load(shipped("models", name))
    content |= {"scale": scale, "yaml_file": re.sub(r"(\d)-", rf"\1{scale}-", name, count=1)}
    return DetectionModel(content, nc=nc, verbose=False)


def save_checkpoint(model: torch.nn.Module, path: Path) -> None:
    """Write a model so that `YOLO(path)` opens it, in float32 (Ultralytics' own `save` halves it).

    The file appears whole or not at all.
    """
    checkpoint = {
        "epoch": -1,  # not a run that could be resumed
        "model": model,
        "ema": None,
        "train_args": {"task": "detect"},
        "date": datetime.now(UTC).isoformat(),
        "version": ultralytics.__version__,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        torch.save(checkpoint, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
