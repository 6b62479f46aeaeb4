"""The machine, as Ultralytics names it."""

from __future__ import annotations

import torch
from ultralytics.utils.torch_utils import get_cpu_info


def cpu_name() -> str:
    """The processor's name."""
    return str(get_cpu_info())


def uses_gpu(device: str | None) -> bool:
    """Whether a device, as `yolo` takes it, means a GPU here; None lets Ultralytics choose."""
    return torch.cuda.is_available() and device != "cpu"
