"""Measure a detector by COCO's metrics, on data in YOLO's or in COCO's format.

    python scripts/evaluate.py best.pt my.yaml --imgsz 640 --json report.json
    python scripts/evaluate.py best.onnx annotations/instances_val2017.json

Figures are pycocotools' own. Nothing is written but the report.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from afpn_yolo.cli.command import command

if TYPE_CHECKING:
    from afpn_yolo.evaluation.evaluate import Report

COLUMNS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR100")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="anything that YOLO() opens: .pt, .onnx, …")
    parser.add_argument("data", metavar="DATA", help="data YAML, or COCO's instances_*.json")
    parser.add_argument("--imgsz", type=int, default=640, help="input size in pixels (640)")
    parser.add_argument("--split", default="val", help="of a data YAML: train, val or test (val)")
    parser.add_argument("--device", help="as in yolo device=: cpu, 0, …")
    parser.add_argument("--batch", type=int, default=16, help="images at a time (16)")
    parser.add_argument("--images", metavar="FOLDER", help="images of a .json, if not as in COCO")
    parser.add_argument(
        "--square", action="store_true", help="pad to squares, as a fixed-size export must"
    )
    parser.add_argument(
        "--clip", action="store_true", help="cut boxes off at the image's edge, as predict does"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    args = parser.parse_args(argv)
    for name in ("imgsz", "batch"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(args, name)}")
    if args.json and not _writable(args.json):  # not after an hour
        parser.error(f"--json {args.json}: it can't be written there")
    return args


def _writable(path: Path) -> bool:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    return folder.is_dir() and os.access(folder, os.W_OK) and not path.is_dir()


def table(report: Report) -> str:
    """Figures in percent, as the COCO literature prints them; a dash where there is no object."""
    width = max(len("class"), *(len(name) for name in report.per_class))
    head = f"{'class':{width}} {'objects':>8}" + "".join(f"{name:>7}" for name in COLUMNS)
    rows = [_row("all", report.instances, vars(report), width)]
    rows += [
        _row(name, scores.instances, vars(scores), width)
        for name, scores in report.per_class.items()
    ]
    return "\n".join([head, *rows])


def _row(name: str, instances: int, scores: Mapping[str, float | None], width: int) -> str:
    figures = [scores[key] for key in COLUMNS]
    printed = ["-" if figure is None else f"{100 * figure:.1f}" for figure in figures]
    return f"{name:{width}} {instances:>8}" + "".join(f"{figure:>7}" for figure in printed)


@command()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    from afpn_yolo.base.files import write_json
    from afpn_yolo.evaluation.evaluate import evaluate_model  # here, so that --help needs no torch

    report = evaluate_model(
        args.model,
        args.data,
        imgsz=args.imgsz,
        split=args.split,
        device=args.device,
        batch=args.batch,
        images=args.images,
        square=args.square,
        clip=args.clip,
    )
    if args.json:
        write_json(args.json, report.as_dict())
    height, width = report.imgsz
    padding = "squares" if report.square else "rectangles"
    print(f"{report.images} images, {width} x {height}, padded to {padding}")
    if report.damaged:
        print(f"{len(report.damaged)} damaged images are left out")
    print(table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
