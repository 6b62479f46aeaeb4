"""Distil AFPN's neck from a trained stock model, on images without labels: weights to start from.

    afpn distill yolo11n.pt my/images
    yolo train model=yolo11n-afpn-hybrid.pt data=my.yaml

The teacher is any model that can be grafted: Ultralytics' own weights, or your own best.pt, of any
family, for detection, segmentation, pose or OBB. Its backbone and head are copied, and AFPN learns
to reproduce its neck's outputs, so that the result detects the teacher's classes at once. Take many
diverse images, thousands if you have them. It takes minutes.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from afpn_yolo.cli import add_json, add_output, check_least
from afpn_yolo.distill import Schedule

STOPPED = "stopped; the same command goes on from here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    add = parser.add_argument
    add("teacher", metavar="TEACHER", type=Path, help=".pt of a stock model")
    add("source", metavar="SOURCE", nargs="+", help="images, folders or globs")
    add_output(parser, ".pt", "the teacher's name with that of the neck: yolo11n-afpn-hybrid.pt")
    kinds = "hybrid (the default), lite, lite-sum, afpn: as published, sum, concat, none"
    add("--neck", metavar="KIND", help=kinds)
    add("--model", help="model YAML of the student, in place of the teacher's with another neck")
    add("--steps", type=int, default=Schedule.steps, help="steps of the optimizer (%(default)s)")
    add("--batch", type=int, default=Schedule.batch, help="crops in a step (%(default)s)")
    add("--imgsz", type=int, default=Schedule.imgsz, help="side of a crop in pixels (%(default)s)")
    add("--lr", type=float, default=Schedule.lr, help="highest learning rate (%(default)s)")
    seed = "for the order of images and the crops (%(default)s)"
    add("--seed", type=int, default=Schedule.seed, help=seed)
    add("--device", default="cpu", help="as in yolo device=: cpu, 0, ... (cpu)")
    add_json(parser, "the explained shares of the teacher's variance")


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    check_least(args, steps=1, batch=1)
    if args.imgsz < 32 or args.imgsz % 32:
        raise ValueError(f"--imgsz must be a multiple of 32, got {args.imgsz}")
    from tqdm import tqdm

    from afpn_yolo.distill.distill import distill
    from afpn_yolo.edge.sources import find_images

    seconds = 0.1 if sys.stderr.isatty() else 30  # from one line to the next
    with tqdm(total=args.steps, desc="Distilling", unit=" steps", mininterval=seconds) as bar:

        def progress(step: int, errors: list[float]) -> None:
            bar.set_postfix(error=f"{sum(errors) / len(errors):.2f}", refresh=False)  # mean
            bar.update(step - bar.n)

        result = distill(
            args.teacher,
            [path for source in args.source for path in find_images(source)],
            args.output,
            args.model,
            Schedule(args.steps, args.batch, args.imgsz, args.lr, args.seed),
            args.device,
            progress,
            args.neck,
        )
    if args.json:
        figures = asdict(result)
        args.json.write({"model": str(figures.pop("out")), **figures})
    print(f"{result.out}: learnt from {result.images} images")
    print("share of the teacher's variance explained on images held back, finest level first:")
    for name, shares in (("before", result.before), ("after", result.after)):
        print(f"  {name:8}" + "  ".join(f"{share:6.3f}" for share in shares))
    if min(result.after) < 0:
        hint = f"is the teacher trained, and are {args.steps} steps enough?"
        print(f"below zero is worse than the teacher's mean: {hint}", file=sys.stderr)
    print("the head is the teacher's" if result.head else "the head has what fits of the teacher's")
    return 0
