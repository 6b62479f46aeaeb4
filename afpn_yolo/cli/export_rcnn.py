"""Export a detector that `afpn train-rcnn` trained to ONNX, for `afpn detect`.

    afpn export-rcnn runs/rcnn/train/best.pt
    afpn detect runs/rcnn/train/best.onnx photos/

Pictures are fitted into the size of the export.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from afpn_yolo.cli import add_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    add = parser.add_argument
    add("model", metavar="MODEL.pt", type=Path, help="checkpoint of afpn train-rcnn")
    size = "height and width, or one side; multiples of 32 (those of the training)"
    add("--imgsz", type=int, nargs="+", metavar="N", help=size)
    add_output(parser, ".onnx", "MODEL.onnx")


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    if args.imgsz and len(args.imgsz) > 2:
        raise ValueError(f"--imgsz takes one side, or height and width, got {args.imgsz}")
    target = args.output or args.model.with_suffix(".onnx")
    from afpn_yolo.twostage.checkpoint import export, open_detector

    model, names = open_detector(args.model)
    trained = model.transform.min_size[-1], model.transform.max_size
    sides = args.imgsz or [32 * math.ceil(side / 32) for side in trained]
    size = (sides[0], sides[-1])
    export(model, names, target, size)
    print(f"{target}: {len(names)} classes, pictures of {size[1]} x {size[0]}")
    return 0
