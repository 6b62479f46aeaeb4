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

from afpn_yolo.cli.arguments import SCALES, check_least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `Command`."""
    parser.add_argument("source", metavar="SRC.pth", type=Path, help="checkpoint of the authors'")
    parser.add_argument("target", metavar="DST.pt", type=Path, help="file to write")
    parser.add_argument("--scale", choices=SCALES, help="expected scale (found from the shapes)")
    parser.add_argument("--nc", type=int, default=80, help="classes of the new head (80)")


def run(args: argparse.Namespace) -> int:
    """See `Command`."""
    check_least(args, nc=1)
    if args.target.suffix != ".pt":
        raise ValueError(f"{args.target}: Ultralytics opens files that end in .pt")
    from afpn_yolo.mmyolo.convert import convert
    from afpn_yolo.mmyolo.safe_load import load_tensors
    from afpn_yolo.mmyolo.twostage import convert_detector, is_twostage

    try:
        if is_twostage(load_tensors(args.source)):
            result = convert_detector(args.source, args.target)
            what = f"Faster R-CNN, {result.scale} with AFPN, trained throughout"
        else:
            result = convert(args.source, args.target, args.scale, args.nc)
            what = f"YOLOv5-{result.scale} with AFPN, {args.nc} classes, head untrained"
    except ValueError as error:
        raise ValueError(f"{args.source}: {error}") from error
    print(f"{args.target}: {what}")
    print(f"{len(result.carried)} tensors carried over, {len(result.dropped)} not:")
    for key in result.dropped:
        print(f"  {key}")
    return 0
