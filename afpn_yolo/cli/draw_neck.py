"""Draw the neck of a model YAML: rows as boxes by level, from the backbone to the head.

afpn draw-neck neck.png --model yolov5n-afpn.yaml
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `Command`."""
    parser.add_argument("out", type=Path, metavar="OUT.png", help="picture to write")
    parser.add_argument(
        "--model", default="yolov5n-afpn.yaml", help="model YAML (yolov5n-afpn.yaml)"
    )


def run(args: argparse.Namespace) -> int:
    """See `Command`."""
    from afpn_yolo.views.neck_figure import collect, draw

    title = f"{Path(args.model).stem}: every row of the neck with its output channels"
    draw(collect(args.model), title, args.out)
    print(args.out)
    return 0
