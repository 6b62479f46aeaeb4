"""Show what a bug report needs: versions, runtimes, and whether Ultralytics has AFPN's layers."""

from __future__ import annotations

import argparse

from afpn_yolo import __version__
from afpn_yolo.base import installed
from afpn_yolo.cli import add_json
from afpn_yolo.plugin.fallback import NEWEST, OLDEST, why_not_registered

PACKAGES = (
    *("ultralytics", "torch", "torchvision", "numpy", "opencv-python", "opencv-python-headless"),
    *("faster-coco-eval", "onnx", "onnxslim", "onnxruntime", "onnxruntime-gpu", "openvino", "nncf"),
    *("ncnn", "pnnx", "tensorrt", "ai-edge-litert"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    add_json(parser, "all of it")


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    reason = why_not_registered()
    versions = installed(PACKAGES)
    info = {
        "afpn_yolo": __version__,
        "AFPN's layers": f"not registered: {reason}" if reason else "registered with Ultralytics",
        "tested with": f"ultralytics {OLDEST} to {NEWEST}",
        **versions,
        "not installed": ", ".join(name for name in PACKAGES if name not in versions) or "-",
    }
    try:
        from afpn_yolo.upstream.loading import system_info

        info |= system_info()
    except Exception as error:  # a bug report of a broken installation needs the rest
        info["system"] = f"Ultralytics can't be used: {error}"
    if args.json:
        args.json.write(info)
    width = max(map(len, info))
    for name, value in info.items():
        print(f"{name:{width}}  {value}")
    return 0
