"""Draw a small data set: painted solids on textured grounds, for each task of Ultralytics.

afpn shapes my-set --task segment
yolo train model=yolo11n-afpn-seg.yaml data=my-set/data.yaml

The pictures are the same for each task: detect (boxes), segment (outlines), pose (boxes and the
silhouette's top, right, bottom and left), obb (the smallest rotated boxes).
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    add = parser.add_argument
    add("folder", type=Path, help="folder of the set; it must be new or empty")
    add("--task", default="detect", help="detect (the default), segment, pose or obb")
    add("--train", type=int, default=320, help="training pictures (320)")
    add("--val", type=int, default=80, help="validation pictures (80)")
    add("--seed", type=int, default=0, help="start of all random choices (0)")
    side = "side of the pictures in pixels, a multiple of 32 from 128 on (320)"
    add("--size", type=int, default=320, help=side)


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    from afpn_yolo.shapes import generate

    options = (args.train, args.val, args.seed, args.size, args.task)
    print(generate(args.folder, *options) / "data.yaml")
    return 0
