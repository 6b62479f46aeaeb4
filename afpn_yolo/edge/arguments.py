"""What detection takes on the command line. Nothing is imported that `--help` doesn't need."""

from __future__ import annotations

import argparse
from pathlib import Path

STANDARD_OUTPUT = Path("-")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add model, sources and options."""
    parser.add_argument("model", metavar="MODEL.onnx", type=Path, help="exported by Ultralytics")
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="image, folder, pattern in quotes, video, URL of a stream, or the number of a camera",
    )
    parser.add_argument("--conf", type=float, default=0.25, help="scores above it (0.25)")
    parser.add_argument("--iou", type=float, default=0.7, help="overlap that suppresses (0.7)")
    parser.add_argument(
        "--imgsz",
        type=int,
        nargs="+",
        metavar="N",
        help="side, or height and width; only for a model of dynamic size",
    )
    parser.add_argument("--classes", type=int, nargs="+", metavar="N", help="only these (all)")
    parser.add_argument("--max-det", type=int, default=300, metavar="N", help="most boxes (300)")
    parser.add_argument(
        "--agnostic-nms", action="store_true", help="boxes of different classes suppress each other"
    )
    parser.add_argument("--threads", type=int, help="threads of ONNX Runtime (it decides)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="pictures and videos with boxes")
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="all detections; - is standard output"
    )


def input_size(words: list[int] | None) -> int | list[int] | None:
    """A side, or height and width, as `--imgsz` gives them.

    Raises:
        ValueError: On more numbers than two.
    """
    if words and len(words) > 2:
        raise ValueError(f"--imgsz takes one or two numbers, got {len(words)}")
    return words[0] if words and len(words) == 1 else words
