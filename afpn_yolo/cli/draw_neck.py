"""Draw the neck of a model YAML: rows as boxes by level, from the backbone to the head.

afpn draw-neck yolo11n-afpn-lite.yaml
afpn draw-neck mine.yaml -o neck.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

DEFAULT = "yolov5n-afpn.yaml"
MODELS = (".yaml", ".yml", ".pt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `Command`."""
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"model YAML ({DEFAULT}), picture")
    parser.add_argument("--model", help=f"model YAML ({DEFAULT})")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT.png", help="picture to write (MODEL.png)"
    )


def run(args: argparse.Namespace) -> int:
    """See `Command`."""
    # The ending says what a word is, so `draw-neck mine.yaml` never writes onto the model.
    models = [word for word in args.words if Path(word).suffix in MODELS]
    pictures = [Path(word) for word in args.words if word not in models]
    models += [args.model] * (args.model is not None)
    pictures += [args.output] * (args.output is not None)
    for found in (models, pictures):
        if len(found) > 1:
            raise ValueError(f"one model and one picture, got {found[0]} and {found[1]}")
    from afpn_yolo.plots.neck_figure import collect, draw

    model = Path((models or [DEFAULT])[0])
    out = pictures[0] if pictures else Path(f"{model.stem}.png")
    title = f"{model.stem}: every row of the neck with its output channels"
    draw(collect(str(model)), title, out)
    print(out)
    return 0
