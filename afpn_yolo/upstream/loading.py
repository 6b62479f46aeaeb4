"""Models of any format, opened to be evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from ultralytics import YOLO
from ultralytics.engine.model import Model
from ultralytics.nn.autobackend import AutoBackend
from ultralytics.nn.tasks import BaseModel
from ultralytics.utils.torch_utils import select_device

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.upstream.log import briefly, one_line
from afpn_yolo.upstream.models import DEFAULT_SIZE, trained_size
from afpn_yolo.upstream.pretrained import check_found

BOXED = ("detect", "segment", "pose")  # tasks whose models predict upright boxes

AnyModel: TypeAlias = str | Path | Model


@dataclass(frozen=True)
class LoadedModel:
    """A model that can be evaluated.

    Attributes:
        source: As the user named it.
        model: The network, or the path of an export.
        names: Class number to name.
        channels: Of the images it takes.
        device: As in `yolo device=`; "" lets Ultralytics choose.
        imgsz: Its own image size in pixels: what it was trained or exported at.
    """

    source: str
    model: torch.nn.Module | str
    names: dict[int, str]
    channels: int
    device: str
    imgsz: int


def open_model(model: AnyModel, device: str | None = None) -> LoadedModel:
    """Open anything that `YOLO()` opens; an open `YOLO` stays as it is.

    Raises:
        EvaluationError: When it can't be opened, or predicts no upright boxes by its nature.
    """
    source = str(model)
    if isinstance(model, Model):
        source = str(model.ckpt_path or getattr(model, "cfg", None) or type(model).__name__)
    try:
        chosen = select_device(device or "", verbose=False)
    except Exception as error:  # torch and Ultralytics each have their own
        raise EvaluationError(f"device {device!r}: {one_line(error)}") from error
    try:
        if not isinstance(model, Model):
            check_found(source)
    except OSError as error:
        raise EvaluationError(str(error)) from None
    try:
        with briefly():
            opened = model if isinstance(model, Model) else YOLO(str(model), task="detect")
            native = isinstance(opened.model, torch.nn.Module)
            # An export says of itself what it is, once its library has opened it.
            info: Any = opened.model if native else AutoBackend(opened.model, device=chosen)
    except Exception as error:  # each format's library has its own kinds
        raise EvaluationError(f"{source} can't be opened: {one_line(error)}") from error
    if native and not isinstance(info, BaseModel):
        kind = type(info).__name__
        raise EvaluationError(f"{source} holds a {kind}, no model of Ultralytics'")
    task = opened.task if native else getattr(info, "task", None) or opened.task
    if not isinstance(opened, YOLO) or task not in BOXED:
        kind = f"{type(opened).__name__}, task {task}"
        hint = "; its boxes are rotated, COCO's are not" if task == "obb" else ""
        raise EvaluationError(f"{source} is no YOLO detector: {kind}{hint}")
    channels = info.yaml.get("channels", 3) if native else getattr(info, "channels", 3)
    imgsz = trained_size(info) if native else max(getattr(info, "imgsz", None) or [DEFAULT_SIZE])
    return LoadedModel(source, opened.model, dict(info.names), channels, device or "", int(imgsz))


def own_imgsz(model: AnyModel) -> int:
    """The image size that a model was trained or exported at, the longer side; 640 if unknown.

    Raises:
        EvaluationError: See `open_model`.
    """
    return open_model(model).imgsz
