"""Read model YAMLs and build them; open and save checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
import torch
import ultralytics
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.engine.model import Model
from ultralytics.nn import tasks
from ultralytics.nn.tasks import (
    BaseModel,
    DetectionModel,
    guess_model_task,
    yaml_model_load,
)
from ultralytics.utils import YAML

from afpn_yolo.base.errors import yaml_name
from afpn_yolo.base.files import is_checkpoint, written_whole
from afpn_yolo.base.yaml_rows import image_channels, torchvision_args
from afpn_yolo.plugin.lookup import scaled, shipped, unscaled
from afpn_yolo.upstream.log import one_line

DEFAULT_SIZE = 640
KINDS = {
    "segment": "SegmentationModel",
    "pose": "PoseModel",
    "obb": "OBBModel",
    "depth": "DepthModel",  # not in all releases
}
"""Task -> class of its models; all others are detectors."""

OF_CLASSES = ("names", "kpt_shape", "kpt_names", "kpt_oks_sigmas")
"""Attributes of a trained model about its classes and keypoints."""


def read_model_yaml(model: str, scale: str | None = None) -> dict[str, Any]:
    """Read a model YAML, found as `yolo` finds it, for the scale that is asked for.

    Ultralytics reads a scale from file names of its own pattern only, `yolov5s-own.yaml`. It builds
    `own5s.yaml` at the first scale that the file lists, with a line among many that says so.

    Args:
        model: Its name or path.
        scale: A letter among the file's `scales`; None takes the one in the name, where it has one.

    Returns:
        What `DetectionModel` builds.

    Raises:
        OSError: When there is no such file.
        ValueError: When it is no model YAML, or has no such scale, or its name promises one that
            would not be built.
    """
    content: dict[str, Any] = yaml_model_load(scaled(model, scale) or model if scale else model)
    if missing := [key for key in ("backbone", "head") if not content.get(key)]:
        hint = "; it is a data YAML" if "train" in content or "val" in content else ""
        raise ValueError(f"{model} is no model YAML: it has no {missing[0]}{hint}")
    scales = content.get("scales") or {}
    wanted = scale or (content.get("scale") if scales else None)
    if wanted and wanted not in scales:
        there = f"only {', '.join(map(str, scales))}" if scales else "no scales at all"
        raise ValueError(f"{model} has no scale {wanted}, it has {there}")
    if scale:
        return content | {"scale": scale}
    name = Path(model).name
    lost = not content.get("scale") and unscaled(name) != name
    if lost and len(scales) > 1 and not Path(model).is_file():  # but a twin without the letter
        raise ValueError(
            f"{model}: Ultralytics reads no scale from this name and would build scale "
            f"{next(iter(scales))}; write {Path(model).with_name(unscaled(name))} with --scales"
        )
    return content


def write_model_yaml(content: Mapping[str, Any], path: Path) -> None:
    """Write what `read_model_yaml` gave, without the scale that it was read for."""
    content = {key: value for key, value in content.items() if key not in ("scale", "yaml_file")}
    with written_whole(path) as part:
        # Ultralytics writes YAMLs into files that end in .yaml only.
        YAML.save(part.with_suffix(".yaml"), content)
        part.with_suffix(".yaml").replace(part)


def trainable_file(model: str, scale: str | None, folder: Path) -> str:
    """What Ultralytics must be asked for, to train a model YAML at a scale.

    That is a name of its pattern or, where the user's own name doesn't follow it, a copy in
    `folder` under one that does.

    Raises:
        OSError, ValueError: As `read_model_yaml`.
    """
    if not scale:
        return model
    content = read_model_yaml(model, scale)
    if name := scaled(model, scale):
        return name
    path = folder / f"yolo0{scale}-{Path(model).stem}.yaml"
    write_model_yaml(content, path)
    return str(path)


def build_model(name: str, scale: str, nc: int) -> torch.nn.Module:
    """Build a shipped model YAML, whatever lies in the user's folder under that name.

    Args:
        name: File name without the scale letter: `yolov5-afpn.yaml`.
        scale: Scale letter.
        nc: Number of classes.
    """
    content = YAML.load(shipped("models", name))
    content |= {"scale": scale, "yaml_file": scaled(name, scale)}
    return DetectionModel(content, nc=nc, verbose=False)


def save_checkpoint(model: torch.nn.Module, path: Path) -> None:
    """Write a model in float32 so that `YOLO(path)` opens it; Ultralytics' own `save` halves it.

    The file appears whole or not at all.
    """
    checkpoint = {
        "epoch": -1,  # not a run that could be resumed
        "model": model,
        "ema": None,
        "train_args": {"task": getattr(model, "task", "detect"), "imgsz": trained_size(model)},
        "date": datetime.now(timezone.utc).isoformat(),
        "version": ultralytics.__version__,
    }
    with written_whole(path) as part:
        torch.save(checkpoint, part)


def load_model(model: str | Path | nn.Module) -> nn.Module:
    """Open a checkpoint, unfused, or take the network out of a `YOLO`; a bare network stays.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When the file is no checkpoint that Ultralytics opens.
    """
    if isinstance(model, Model):
        model = model.model if isinstance(model.model, nn.Module) else str(model.model)
    if isinstance(model, nn.Module):
        return model
    path = Path(model)
    if not is_checkpoint(path):
        raise ValueError(
            f"{path}: a PyTorch checkpoint (.pt) is needed; of an exported model, the one that it "
            "was exported from"
        )
    if not path.is_file():  # Ultralytics would try to download it
        raise FileNotFoundError(f"{path}: no such file")
    try:
        network: nn.Module = student_of(YOLO(path).model)
    except Exception as error:  # unpickling runs whatever is in the file
        raise ValueError(f"{path}: Ultralytics can't open it: {one_line(error)}") from error
    if not isinstance(network, BaseModel):
        raise ValueError(f"{path}: it holds a {type(network).__name__}, not a model of Ultralytics")
    return network


def student_of(network: Any) -> Any:
    """The student in a checkpoint of a `distill_model=` training midway; else the network itself.

    At the end of such a training Ultralytics saves the student alone.
    """
    return getattr(network, "student_model", network)


def trained_size(model: nn.Module) -> int:
    """The `imgsz` that a model was trained at; 640 when it doesn't say."""
    args = getattr(model, "args", None)
    size = args.get("imgsz") if isinstance(args, dict) else getattr(args, "imgsz", None)
    return size if isinstance(size, int) else DEFAULT_SIZE


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.pt` of Ultralytics', or of an `.npz`, in float32 and by name.

    Raises:
        OSError, ValueError: When the file is missing, or neither of the two.
    """
    if path.suffix != ".npz":
        return {name: tensor.float() for name, tensor in load_model(path).state_dict().items()}
    try:
        with np.load(path) as file:
            return {name: torch.from_numpy(file[name]).float() for name in file.files}
    except (ValueError, TypeError, BadZipFile) as error:
        raise ValueError(f"{path}: no .npz of tensors: {one_line(error)}") from error


def empty_model(
    yaml: str | Mapping[str, Any],
    nc: int | None = None,
    scale: str | None = None,
    channels: int = 3,
) -> nn.Module:
    """Build a model YAML as `YOLO(yaml)` does, untrained; no weights are downloaded for its rows.

    Args:
        yaml: Its name or path, or its content.
        nc: Number of classes; None takes the file's.
        scale: A letter among the file's scales; None takes the one in the name.
        channels: Of the images. `YOLO(yaml)` builds for three, whatever stands in the file.

    Raises:
        OSError: When there is none of that name.
        ValueError: When Ultralytics can't build it, or has no such scale.
    """
    try:
        if isinstance(yaml, str):
            content = read_model_yaml(yaml, scale)
        else:
            content = copy.deepcopy(dict(yaml))
        kind: Any = getattr(tasks, KINDS.get(guess_model_task(content), "DetectionModel"))
        named = copy.deepcopy(torchvision_args(content))
        for args in torchvision_args(content):
            args[2:3] = [None]
        model: Any = kind(content, ch=channels, nc=nc, verbose=False)
        for args, before in zip(torchvision_args(model.yaml), named, strict=True):
            args[:] = before
        return cast(nn.Module, model)
    except (OSError, ValueError):
        raise
    except Exception as error:  # the parser raises whatever it comes across
        reason = f"{type(error).__name__}: {one_line(error)}"
        name = yaml if isinstance(yaml, str) else yaml_name(yaml)
        raise ValueError(f"{name}: Ultralytics can't build it: {reason}") from error


def untrained(yaml: str | Mapping[str, Any], like: nn.Module) -> nn.Module:
    """Build a model YAML, given by name or content, for the classes and images of another model."""
    names: Any = like.names
    model: Any = empty_model(yaml, len(names), channels=image_channels(like))
    for known in OF_CLASSES:
        if hasattr(like, known):
            setattr(model, known, copy.copy(getattr(like, known)))
    model.task = guess_model_task(model.yaml)  # its own: the other model's head may be another
    model.args = {"imgsz": trained_size(like)}
    return cast(nn.Module, model)


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> list[str]:
    """Load a module's tensors by name. Only BatchNorm's counts of batches may be missing.

    Args:
        module: The module.
        tensors: May have more than the module needs.
        what: How a message starts: the file, and what it is loaded into.

    Returns:
        Names in `tensors` that the module doesn't have.

    Raises:
        ValueError: When a tensor is missing or has another shape; the module stays as it was.
    """
    needed = module.state_dict()
    for name, value in needed.items():
        tensor = tensors.get(name)
        if tensor is None and name.endswith("num_batches_tracked"):
            continue
        if tensor is None or tensor.shape != value.shape:
            problem = "is missing" if tensor is None else f"has the shape {tuple(tensor.shape)}"
            raise ValueError(
                f"{what}: {name} {problem}, {tuple(value.shape)} is needed "
                "(another scale, or another network?)"
            )
    module.load_state_dict({k: v for k, v in tensors.items() if k in needed}, strict=False)
    return [name for name in tensors if name not in needed]
