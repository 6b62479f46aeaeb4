"""Ultralytics' trainer: start a run, or go on with one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ultralytics import YOLO
from ultralytics.nn.tasks import torch_safe_load
from ultralytics.utils.torch_utils import get_flops

from afpn_yolo.plugin.checkpoints import remedy, resumable
from afpn_yolo.upstream.models import empty_model, fill, load_model, read_tensors, save_checkpoint
from afpn_yolo.upstream.rows import backbone_rows
from afpn_yolo.upstream.tell import warn


def train(model: str, folder: Path, arguments: Mapping[str, Any], device: str | None) -> Path:
    """Train to the end, from wherever an earlier call was stopped.

    Args:
        model: Model YAML or `.pt`.
        folder: Where the run is kept.
        arguments: Arguments of `YOLO.train`; a run that is resumed keeps its own.
        device: As `yolo` takes it.

    Returns:
        The checkpoint after the last epoch.
    """
    last = folder / "weights" / "last.pt"
    if _done(last):
        return last
    whole = resumable(last.parent)
    if whole:
        YOLO(whole[0].path).train(resume=True, device=device)
    else:
        if last.exists():
            warn(f"{remedy(last)}: this run starts anew")
        place = {"project": str(folder.parent.resolve()), "name": folder.name, "exist_ok": True}
        YOLO(model, task="detect").train(**arguments, **place, device=device)
    return last


def _done(last: Path) -> bool:
    """Whether a run's last epoch is over, if not the last step, which sets the epoch to -1."""
    if not last.is_file():  # Ultralytics would try to download it
        return False
    try:
        content = torch_safe_load(last)[0]  # it heeds ULTRALYTICS_SAFE_LOAD
        return content["epoch"] == -1 or content["epoch"] + 1 >= content["train_args"]["epochs"]
    except Exception:  # cut short, which fails in many ways
        return False


def cost(checkpoint: Path, imgsz: int) -> tuple[int, float]:
    """Parameters and GFLOPs (two per multiply-add, at imgsz x imgsz) of a model before fusing."""
    model = load_model(checkpoint)
    return sum(p.numel() for p in model.parameters()), float(get_flops(model, imgsz))


def backbone_checkpoint(source: Path, model: str, target: Path) -> None:
    """Write a checkpoint that holds the backbone alone, for `pretrained=`.

    Args:
        source: A `.pt` of Ultralytics', or an `.npz` of tensors by their names in it.
        model: Model YAML whose backbone the tensors must fit.
        target: File to write.

    Raises:
        ValueError: When a tensor of the backbone is missing or has another shape.
    """
    module: Any = empty_model(model)
    module.model = module.model[: backbone_rows(module)]
    fill(module.model, read_tensors(source), f"{source} for the backbone of {model}")
    save_checkpoint(module, target)
