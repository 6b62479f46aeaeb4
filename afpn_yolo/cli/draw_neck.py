"""Draw the neck of a model YAML: rows as boxes by level, from the backbone to the head.

afpn draw-neck yolo11n-afpn-lite
afpn draw-neck mine.yaml -o neck.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from afpn_yolo.cli import model_name

DEFAULT = "yolov5n-afpn.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    parser.add_argument("model", nargs="?", default=DEFAULT, help=f"model YAML ({DEFAULT})")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.png", help="(MODEL.png)")


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    name = model_name(args.model)
    stem = Path(name).stem
    out = args.output or Path(f"{stem}.png")
    from afpn_yolo.plots.neck_figure import collect, draw

    figure = draw(collect(name), f"{stem}: every row of the neck with its output channels")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, bbox_inches="tight")
    print(out)
    return 0
