"""Turn a checkpoint of the AFPN authors' MMYOLO code into a .pt for Ultralytics.

Backbone and neck then compute exactly what theirs compute. The detection head is not carried over:
theirs predicts from anchors, Ultralytics' does not. It starts untrained, so fine-tune the result:

    python scripts/convert_mmyolo.py afpn_n.pth yolov5n-afpn-coco.pt
    yolo train model=yolov5n-afpn-coco.pt data=my.yaml
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from afpn_yolo.cli.command import command

SCALES = ("n", "s", "m", "l", "x")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SRC.pth", type=Path, help="checkpoint of the authors'")
    parser.add_argument("target", metavar="DST.pt", type=Path, help="file to write")
    parser.add_argument("--scale", choices=SCALES, help="expected scale (found from the shapes)")
    parser.add_argument("--nc", type=int, default=80, help="classes of the new head (80)")
    args = parser.parse_args(argv)
    if args.nc < 1:
        parser.error(f"--nc must be at least 1, got {args.nc}")
    if args.target.suffix != ".pt":
        parser.error(f"{args.target}: Ultralytics opens files that end in .pt")
    return args


@command()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    from afpn_yolo.mmyolo.convert import convert  # here, so that --help needs no torch

    try:
        result = convert(args.source, args.target, args.scale, args.nc)
    except ValueError as error:
        raise ValueError(f"{args.source}: {error}") from error
    print(f"{args.target}: YOLOv5-{result.scale} with AFPN, {args.nc} classes, head untrained")
    print(f"{len(result.carried)} tensors carried over, {len(result.dropped)} not:")
    for key in result.dropped:
        print(f"  {key}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
