"""Show what a bug report needs: versions, runtimes, and whether Ultralytics has AFPN's layers."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from importlib import import_module
from typing import Any

from afpn_yolo import __version__
from afpn_yolo.base.versions import installed
from afpn_yolo.cli.arguments import add_json
from afpn_yolo.plugin.fallback import NEWEST, OLDEST, why_not_registered

PACKAGES = (
    *("ultralytics", "torch", "torchvision", "numpy", "opencv-python", "opencv-python-headless"),
    *("pillow", "matplotlib", "faster-coco-eval", "onnx", "onnxslim", "nncf", "pnnx"),
)

RUNTIMES: dict[str, Callable[[Any], list[str]]] = {
    "onnxruntime": lambda runtime: list(runtime.get_available_providers()),
    "openvino": lambda runtime: list(runtime.Core().available_devices),
    **dict.fromkeys(("ncnn", "tensorrt", "ai_edge_litert"), lambda runtime: []),
}
"""Module of a runtime -> what it runs on here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `Command`."""
    add_json(parser, "all of it")


def run(args: argparse.Namespace) -> int:
    """See `Command`."""
    found = collect()
    if args.json:
        args.json.write(found)
    print(text(found))
    return 0


def collect() -> dict[str, Any]:
    """All that is shown."""
    reason = why_not_registered()
    return {
        "afpn_yolo": __version__,
        "layers_registered": reason is None,
        "not_registered_because": reason,
        "tested_with_ultralytics": [OLDEST, NEWEST],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": dict.fromkeys(PACKAGES) | installed(PACKAGES),
        "runtimes": {name: _runtime(name, ask) for name, ask in RUNTIMES.items()},
        "gpu": _gpus(),
    }


def text(found: dict[str, Any]) -> str:
    """The same to read, a line each."""
    oldest, newest = found["tested_with_ultralytics"]
    reason = found["not_registered_because"]
    lines = {
        "afpn_yolo": found["afpn_yolo"],
        "AFPN's layers": f"not registered: {reason}" if reason else "registered with Ultralytics",
        "tested with": f"ultralytics {oldest} to {newest}",
        "python": found["python"],
        "platform": found["platform"],
        "GPU": ", ".join(found["gpu"]) or "none that torch can use",
    }
    lines |= {name: number for name, number in found["packages"].items() if number}
    for name, runtime in found["runtimes"].items():
        if runtime:
            on = ", ".join(runtime["on"])
            lines[name] = f"{runtime['version']}{f' ({on})' if on else ''}{runtime['fault'] or ''}"
    missing = [
        name for part in ("packages", "runtimes") for name, i in found[part].items() if not i
    ]
    lines["not installed"] = ", ".join(missing) or "-"
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {value}" for name, value in lines.items())


def _runtime(name: str, ask: Callable[[Any], list[str]]) -> dict[str, Any] | None:
    """A runtime's version and what it runs on; one that is broken says how."""
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        return {"version": "", "on": [], "fault": f"can't be imported: {error}"}
    except Exception as error:  # a library of the system that is missing, and more
        return {"version": "", "on": [], "fault": f"can't be imported: {error}"}
    return {"version": getattr(module, "__version__", "?"), "on": ask(module), "fault": None}


def _gpus() -> list[str]:
    try:
        import torch
    except Exception:  # as above; its version says that it is there
        return []
    if torch.backends.mps.is_available():
        return ["Apple MPS"]
    return [
        f"{torch.cuda.get_device_name(i)}, CUDA {torch.version.cuda}"
        for i in range(torch.cuda.device_count())
    ]
