"""Open models of any format; find checkpoints and devices."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from ultralytics import YOLO
from ultralytics.engine.model import Model
from ultralytics.nn.autobackend import AutoBackend
from ultralytics.nn.tasks import BaseModel
from ultralytics.utils import SETTINGS
from ultralytics.utils.checks import check_yolov5u_filename, collect_system_info
from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset
from ultralytics.utils.torch_utils import get_cpu_info, select_device

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.base.files import is_checkpoint
from afpn_yolo.upstream.data import Size
from afpn_yolo.upstream.log import one_line, quiet
from afpn_yolo.upstream.models import DEFAULT_SIZE, student_of, trained_size

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
        fixed: Height and width that an export takes, if it takes no others.
    """

    source: str
    model: torch.nn.Module | str
    names: dict[int, str]
    channels: int
    device: str
    imgsz: int
    fixed: Size | None = None


def open_model(model: AnyModel, device: str | None = None) -> LoadedModel:
    """Open anything that `YOLO()` opens; an open `YOLO` stays as it is.

    Raises:
        EvaluationError: When it can't be opened, or its task has no upright boxes.
    """
    source = str(model)
    if isinstance(model, Model):
        source = str(model.ckpt_path or getattr(model, "cfg", None) or type(model).__name__)
    else:
        check_exists(source)
    chosen = _device(device)
    try:
        with quiet(warnings=True):
            opened = model if isinstance(model, Model) else YOLO(source, task="detect")
            native = isinstance(opened.model, torch.nn.Module)
            # An export's metadata are known once its library has opened it.
            info: Any = opened.model if native else AutoBackend(opened.model, device=chosen)
    except Exception as error:  # each format's library has its own kinds
        raise EvaluationError(f"{source} can't be opened: {one_line(error)}") from error
    fixed = None
    if native:
        imgsz, info = trained_size(info), student_of(info)
        if not isinstance(info, BaseModel):
            kind = type(info).__name__
            raise EvaluationError(f"{source} holds a {kind}, not a model of Ultralytics")
        channels = info.yaml.get("channels", 3)
    else:
        shape = getattr(info, "imgsz", None) or [DEFAULT_SIZE]
        imgsz, channels = int(max(shape)), getattr(info, "channels", 3)
        if hasattr(info, "imgsz") and not getattr(info, "dynamic", False):
            fixed = (int(shape[0]), int(shape[-1]))
    task = opened.task if native else getattr(info, "task", None) or opened.task
    if not isinstance(opened, YOLO) or task not in BOXED:
        kind = f"{type(opened).__name__}, task {task}"
        hint = "; its boxes are rotated, COCO's are not" if task == "obb" else ""
        raise EvaluationError(f"{source} is no YOLO detector: {kind}{hint}")
    network = info if native else opened.model
    return LoadedModel(source, network, dict(info.names), channels, device or "", imgsz, fixed)


def move(model: torch.nn.Module, device: str | None) -> torch.nn.Module:
    """Bring a model to a device, as `yolo` takes it; None lets Ultralytics choose.

    Raises:
        EvaluationError: When there is no such device.
    """
    return model.to(_device(device))


def _device(device: str | None) -> torch.device:
    try:
        chosen: torch.device = select_device(device or "", verbose=False)
    except Exception as error:  # torch and Ultralytics each have their own
        reason = one_line(error).split(" torch.cuda.")[0]  # what follows is about installations
        raise EvaluationError(f"device {device}: {reason}") from error
    return chosen


def find_checkpoint(name: str) -> Path:
    """A `.pt` that is here, or one of Ultralytics' own, which is downloaded.

    Raises:
        EvaluationError: When there is no checkpoint of this name, or it can't be downloaded.
    """
    if Path(name).is_file():
        return Path(name)
    check_exists(name)
    try:
        return Path(attempt_download_asset(name))
    except Exception as error:  # networks fail in many ways
        raise EvaluationError(f"{name} can't be downloaded: {one_line(error)}") from error


def check_exists(checkpoint: str) -> None:
    """Raise unless a `.pt` is here, or is one that Ultralytics offers for download.

    For any other name Ultralytics would ask the network. Other files and URLs are left to it.

    Raises:
        EvaluationError: It names the file.
    """
    path = Path(checkpoint)
    if not is_checkpoint(path) or "://" in checkpoint or path.exists():
        return
    if path.name != checkpoint:
        raise EvaluationError(f"{checkpoint}: no such file")
    name = check_yolov5u_filename(checkpoint, verbose=False)
    if name not in GITHUB_ASSETS_NAMES and not Path(SETTINGS["weights_dir"], name).exists():
        raise EvaluationError(
            f"{checkpoint}: no such file, and no checkpoint that Ultralytics offers for download"
        )


def cpu_name() -> str:
    """The processor's name."""
    return str(get_cpu_info())


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def system_info() -> dict[str, str]:
    """What Ultralytics collects for bug reports, without its requirements."""
    with quiet():
        info = collect_system_info()
    return {name: str(value) for name, value in info.items() if not isinstance(value, dict)}
