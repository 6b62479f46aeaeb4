"""Measure a detector by COCO's metrics, on data in YOLO's or in COCO's format.

    afpn evaluate model=best.pt data=my.yaml imgsz=640
    afpn evaluate best.pt my.yaml --json report.json
    afpn evaluate best.onnx annotations/instances_val2017.json

A checkpoint of `afpn train-rcnn` is measured at the sizes of its training, its boxes clipped.
Figures are those of pycocotools. Of models of segmentation and pose the boxes are measured. Nothing
is written but the report.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from afpn_yolo.cli import add_json, check_least, check_order

if TYPE_CHECKING:
    from afpn_yolo.evaluation.coco import Scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="anything that YOLO() opens: .pt, .onnx, …")
    add("data", metavar="DATA", help="data YAML, or COCO's instances_*.json")
    add("--imgsz", type=int, help="input size in pixels (that of the training or the export)")
    add("--split", default="val", help="of a data YAML: train, val or test (val)")
    add("--device", help="as in yolo device=: cpu, 0, …")
    add("--batch", type=int, default=16, help="images at a time (16)")
    add("--images", metavar="FOLDER", help="images of a .json, if not as in COCO")
    add("--square", action="store_true", help="pad to squares, as a fixed-size export must")
    add("--clip", action="store_true", help="cut boxes off at the image's edge, as predict does")
    add_json(parser, "the report")


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    check_least(args, imgsz=1, batch=1)
    check_order(args.model, args.data)
    from afpn_yolo.evaluation.evaluate import evaluate_model
    from afpn_yolo.twostage.checkpoint import is_detector

    model, how = Path(args.model), (args.split, args.device, args.batch, args.images)
    if is_detector(model):
        from afpn_yolo.twostage.detect import evaluate_checkpoint

        report = evaluate_checkpoint(model, args.data, *how)
    else:
        report = evaluate_model(args.model, args.data, args.imgsz, *how, args.square, args.clip)
    if args.json:
        args.json.write(report)
    size = report["imgsz"]
    height, width = (size, size) if isinstance(size, int) else size
    padding = "squares" if report["square"] else "rectangles"
    print(f"{report['images']} images, {width} x {height}, padded to {padding}")
    print(f"small, medium and large by {report['area']}")
    if report["damaged"]:
        print(f"{len(report['damaged'])} damaged images are left out")
    print(table(report, report["per_class"]))
    return 0


def table(scores: Scores, per_class: Mapping[str, Scores]) -> str:
    """Figures in percent, as the COCO literature prints them; a dash where there is no object."""
    from afpn_yolo.evaluation.coco import COLUMNS

    rows = {"all": scores, **per_class}
    width = max(len("class"), *map(len, rows))
    lines = [f"{'class':{width}} {'objects':>8}" + "".join(f"{name:>7}" for name in COLUMNS)]
    for name, scores in rows.items():
        figures = [scores[key] for key in COLUMNS]
        printed = ["-" if figure is None else f"{100 * figure:.1f}" for figure in figures]
        cells = "".join(f"{cell:>7}" for cell in printed)
        lines.append(f"{name:{width}} {scores['instances']:>8}{cells}")
    return "\n".join(lines)
