"""One process or, under torchrun, several with a GPU each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import distributed, nn

T = TypeVar("T")


def rank() -> int:
    """The number of this process; process 0 writes and reports."""
    return distributed.get_rank() if _several() else 0


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _several() else 1


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def gather(value: T) -> list[T]:
    """The values of all processes, in the order of their ranks."""
    parts = [value] * world_size()
    if _several():
        distributed.all_gather_object(parts, value)
    return parts


def share_buffers(model: nn.Module) -> None:
    """Copy the buffers of process 0, e.g. running means, to all the others."""
    if _several():
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


@contextmanager
def process_group(device: str | None) -> Iterator[torch.device]:
    """Give the device to train on, inside torchrun's process group if there is one.

    Args:
        device: `cpu`, `0` or `cuda:0`; None takes this process's GPU, if there is one.

    Raises:
        ValueError: When there is no such device.
    """
    local = os.environ.get("LOCAL_RANK")  # set by torchrun
    chosen = _device(device, local)
    if local is None:
        yield chosen
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen
    finally:
        distributed.destroy_process_group()


def _device(name: str | None, local: str | None) -> torch.device:
    if name is None or (local is not None and name != "cpu"):
        return torch.device(f"cuda:{local or 0}" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(f"cuda:{name}" if name.isdigit() else name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name}: {str(error).splitlines()[0]}") from None
    return device
