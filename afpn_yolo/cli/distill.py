"""Weights to start from: AFPN's neck learns from a trained stock model, on images without labels.

    afpn distill yolo11n.pt my/images
    yolo train model=yolo11n-afpn-lite.pt data=my.yaml

The teacher is any model that can be grafted: Ultralytics' own weights, or your own best.pt, of any
family, for detection, segmentation, pose or OBB. Its backbone and head are copied, and AFPN learns
to give what its neck gives, so that the result finds the teacher's classes at once. Your own
training images will do. It takes minutes; stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from afpn_yolo.cli.arguments import add_json, check_least
from afpn_yolo.distill.schedule import Schedule

STOPPED = "stopped; the same command goes on from here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `Command`."""
    add = parser.add_argument
    add("teacher", metavar="TEACHER", type=Path, help=".pt of a stock model, or .npz of tensors")
    add(
        "images",
        metavar="IMAGES",
        nargs="+",
        help="images, folders or globs; a last word that ends in .pt is the file to write",
    )
    add(
        "-o",
        "--output",
        type=Path,
        metavar="OUT.pt",
        help="file to write (the teacher's name with that of the neck: yolo11n-afpn-lite.pt)",
    )
    add(
        "--neck",
        metavar="KIND",
        help="of the teacher's model: lite (the default), afpn: as published, sum, concat, none",
    )
    add("--model", help="model YAML to teach, in place of the teacher's with another neck")
    add("--teacher-model", metavar="YAML", help="model YAML that an .npz fits: yolov5n.yaml")
    add("--steps", type=int, default=Schedule.steps, help="steps of the optimiser (%(default)s)")
    add("--batch", type=int, default=Schedule.batch, help="crops in a step (%(default)s)")
    add("--imgsz", type=int, default=Schedule.imgsz, help="side of a crop in pixels (%(default)s)")
    add("--lr", type=float, default=Schedule.lr, help="highest learning rate (%(default)s)")
    add(
        "--seed",
        type=int,
        default=Schedule.seed,
        help="for the order of images and the crops (%(default)s)",
    )
    add("--device", default="cpu", help="as in yolo device=: cpu, 0, ... (cpu)")
    add_json(parser, "what was explained of the teacher")


def run(args: argparse.Namespace) -> int:
    """See `Command`."""
    check_least(args, steps=1, batch=1)
    if args.imgsz < 32 or args.imgsz % 32:
        raise ValueError(f"--imgsz must be a multiple of 32, got {args.imgsz}")
    *images, last = args.images
    out = args.output
    if out is None and last.endswith(".pt"):
        out = Path(last)
    else:
        images.append(last)
    if not images:
        raise ValueError(f"name images, folders or globs between {args.teacher} and {out}")
    if out and out.suffix != ".pt":
        raise ValueError(f"{out}: Ultralytics opens files that end in .pt")
    from tqdm import tqdm

    from afpn_yolo.distill.distill import distill
    from afpn_yolo.upstream.find_images import find_images

    with tqdm(total=args.steps, desc="Teaching", unit=" steps", disable=None) as bar:

        def progress(step: int, missed: list[float]) -> None:
            bar.update(step - bar.n)
            mean = f"{sum(missed) / len(missed):.2f}"  # of the levels
            bar.set_postfix(missed=mean)
            if bar.disable and step % max(1, args.steps // 10) == 0:  # nobody watches: a file
                print(f"step {step} of {args.steps}: missed {mean}", file=sys.stderr, flush=True)

        result = distill(
            args.teacher,
            [path for source in images for path in find_images(source)],
            out,
            args.model,
            args.teacher_model,
            Schedule(args.steps, args.batch, args.imgsz, args.lr, args.seed),
            args.device,
            progress,
            args.neck,
        )
    if args.json:
        figures = asdict(result)
        args.json.write({"model": str(figures.pop("out")), **figures})
    print(f"{result.out}: learnt from {result.seen} images")
    print("share of the teacher's variance explained on images held back, finest level first:")
    print("  untaught  " + "  ".join(f"{share:6.3f}" for share in result.before))
    print("  taught    " + "  ".join(f"{share:6.3f}" for share in result.after))
    if min(result.after) < 0:
        print(
            "below zero is worse than the teacher's mean: is the teacher trained, and are "
            f"{args.steps} steps enough?",
            file=sys.stderr,
        )
    print("the head is the teacher's" if result.head else "the head is untrained")
    return 0
