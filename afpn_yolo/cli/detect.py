"""Detect objects in images, folders, videos or a camera, with an exported model, without torch.

    afpn detect best.onnx photos/ clip.mp4 --out drawn --json found.json
    afpn detect best.onnx 0 --out drawn        # a camera, until Ctrl-C

A line per source goes to standard output, or to standard error where `--json -` writes the list
there. What can't be read is named on standard error, and the rest is still processed.
`python -m afpn_yolo.edge` is the same; it needs nothing but Python, numpy, OpenCV, ONNX Runtime and
tqdm.
"""

from __future__ import annotations

import argparse

from afpn_yolo.edge.arguments import add_arguments

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """See `Command`."""
    from afpn_yolo.edge.__main__ import run

    return run(args)
