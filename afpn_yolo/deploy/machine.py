"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from functools import cache

from afpn_yolo import __version__
from afpn_yolo.base.versions import installed
from afpn_yolo.upstream.loading import cpu_name

PACKAGES = (
    *("ultralytics", "torch", "onnx", "onnxruntime", "onnxslim"),
    *("openvino", "nncf", "ncnn", "pnnx"),
)


@cache
def machine() -> dict[str, str | int | None]:
    """Processor, the cores that it has, and the system."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
    }


@cache
def versions() -> dict[str, str]:
    """Of what the figures depend on, where it is installed."""
    own = {"afpn_yolo": __version__, "python": platform.python_version()}
    return own | installed(PACKAGES)
