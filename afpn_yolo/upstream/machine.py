"""The machine, as Ultralytics names it."""

from __future__ import annotations

from ultralytics.utils.torch_utils import get_cpu_info


def cpu_name() -> str:
    """The processor's name."""
    return str(get_cpu_info())
