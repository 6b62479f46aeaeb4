"""The machine, as Ultralytics names it."""

from __future__ import annotations

import os

import torch
from ultralytics.utils.torch_utils import get_cpu_info


def cpu_name() -> str:
    """The processor's name."""
    return str(get_cpu_info())


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def uses_gpu(device: str | None) -> bool:
    """Whether a device, as `yolo` takes it, means a GPU here; None lets Ultralytics choose."""
    return torch.cuda.is_available() and device != "cpu"
