"""Turn a checkpoint of the AFPN authors' MMYOLO code into a .pt for Ultralytics.

Backbone and neck then compute exactly what theirs compute. The detection head is not carried over:
theirs predicts from anchors, Ultralytics' does not. It starts untrained, so fine-tune the result:

    afpn convert afpn_n.pth yolov5n-afpn-coco.pt
    yolo train model=yolov5n-afpn-coco.pt data=my.yaml

A two-stage checkpoint of their MMDetection code is carried over whole, head and all:

    afpn convert faster-rcnn_r50_afpn.pth r50-afpn.pt
    afpn evaluate r50-afpn.pt annotations/instances_val2017.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from afpn_yolo.cli import check_least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    parser.add_argument("source", metavar="SRC.pth", type=Path, help="checkpoint of the authors'")
    parser.add_argument("target", metavar="DST.pt", type=Path, help="file to write")
    parser.add_argument("--nc", type=int, default=80, help="classes of the new head (80)")


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    check_least(args, nc=1)
    if args.target.suffix != ".pt":
        raise ValueError(f"{args.target}: Ultralytics opens files that end in .pt")
    from afpn_yolo.convert import convert

    result = convert(args.source, args.target, args.nc)
    print(f"{args.target}: {result.what}")
    print(f"{len(result.carried)} tensors carried over, {len(result.dropped)} not:")
    for key in result.dropped:
        print(f"  {key}")
    return 0
