"""Train Faster R-CNN or Dynamic R-CNN with AFPN, FPN or PAFPN on your own data.

Data in YOLO's format (a YAML) or COCO's (two JSONs, or a folder laid out as COCO's). The defaults
are the paper's: SGD, 12 epochs (1x), batch 8, images of 800 x 1333. After every epoch OUT holds
last.pt, which --resume goes on from, best.pt, and results.csv. Several GPUs: torchrun
--nproc-per-node 2 -m afpn_yolo train-rcnn ...
"""

from __future__ import annotations

import argparse
import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afpn_yolo.cli.arguments import add_json

STOPPED = "stopped: --resume goes on from the last whole epoch"

if TYPE_CHECKING:
    from afpn_yolo.twostage.plan import Plan

SCHEDULES = ("1x", "2x", "36")
TRAINING = {
    **{"lr": "rate", "weight_decay": "decay", "amp": "half"},
    **{name: name for name in ("momentum", "warmup", "clip", "flip", "crop", "trainable_layers")},
}
"""Options of the training, as a plan calls them; `afpn compare --table I --set` takes them, too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--data", required=True, help="data YAML, COCO JSON of the training, or COCO's folder")
    add("--val", help="COCO JSON to evaluate on; of test-dev: its detections are written")
    add("--images", help="folder of the images of the training's JSON")
    add("--val-images", help="folder of the images of the other JSON")
    add("--out", type=Path, default=Path("runs/rcnn/train"), help="folder (%(default)s)")
    add("--resume", action="store_true", help="go on from OUT/last.pt, if there is one")
    add_json(parser)

    model = parser.add_argument_group("detector").add_argument
    model("--detector", choices=("faster", "dynamic"), default="faster", help="(%(default)s)")
    model("--neck", choices=("afpn", "fpn", "pafpn"), default="afpn", help="(%(default)s)")
    model("--backbone", default="resnet50", help="a ResNet of torchvision's (%(default)s)")
    model(
        "--weights",
        default="IMAGENET1K_V1",
        help="what the backbone starts from: torchvision's name, a file, or none (%(default)s)",
    )
    model("--trainable-layers", type=int, help="of the backbone, from the last (3; 5 with none)")
    model(
        "--upsample",
        choices=("bilinear", "carafe"),
        default="bilinear",
        help="how AFPN enlarges coarser levels (%(default)s)",
    )
    model(
        "--fusion",
        choices=("asff", "sum", "concat"),
        default="asff",
        help="how AFPN combines levels (%(default)s)",
    )
    model("--p6", choices=("pool", "conv"), default="pool", help="how P6 is made (%(default)s)")
    model("--set", nargs="+", default=[], metavar="NAME=VALUE", help="torchvision's FasterRCNN's")

    how = parser.add_argument_group("training").add_argument
    how("--schedule", choices=SCHEDULES, default="1x", help="12, 24 or 36 epochs (%(default)s)")
    how("--epochs", type=int, help="instead: so many, steps in proportion")
    how("--batch", type=int, default=8, help="images a step, over all GPUs (%(default)s)")
    how("--lr", type=float, help="learning rate (0.01 for 8 images, in proportion)")
    how("--momentum", type=float, default=0.9, help="of SGD (%(default)s)")
    how("--weight-decay", type=float, default=1e-4, help="of SGD (%(default)s)")
    how("--warmup", type=int, default=500, help="iterations (%(default)s)")
    how("--clip", type=float, default=0.0, help="largest norm of the gradient (0: any)")
    how(
        "--min-size",
        type=int,
        nargs="+",
        default=[800],
        help="shorter side in pixels; of several, one at random, the last in evaluation",
    )
    how("--max-size", type=int, default=1333, help="longest side in pixels (%(default)s)")
    how("--flip", type=float, default=0.5, help="how often images are mirrored (%(default)s)")
    how("--crop", type=float, default=1.0, help="smallest share of a side kept (1: no cropping)")
    how("--amp", action="store_true", help="mixed precision")
    how("--seed", type=int, default=0, help="of all random choices (%(default)s)")
    how("--device", help="cpu, 0, cuda:0; default: a GPU where there is one")
    how(
        "--workers",
        type=int,
        default=4,
        help="processes that load images (%(default)s, or as many as there are cores)",
    )


def plan_of(args: argparse.Namespace) -> Plan:
    """The training that the options mean.

    Raises:
        ValueError: On options that can't be.
    """
    from afpn_yolo.twostage.data import Source
    from afpn_yolo.twostage.design import Design, Sides
    from afpn_yolo.twostage.models import BACKBONES
    from afpn_yolo.twostage.plan import Plan
    from afpn_yolo.twostage.pyramid import check_choice
    from afpn_yolo.twostage.schedule import schedule_of

    check_choice("--backbone", args.backbone, BACKBONES)
    return Plan(
        source=Source.named(args.data, args.val, args.images, args.val_images),
        design=Design(
            backbone=args.backbone,
            neck=args.neck,
            upsample=args.upsample,
            fusion=args.fusion,
            p6=args.p6,
            dynamic=args.detector == "dynamic",
            options=dict(read_option(word) for word in args.set),
        ),
        sides=Sides(tuple(args.min_size), args.max_size),
        schedule=schedule_of(args.schedule, args.epochs),
        weights_backbone=None if args.weights.lower() == "none" else args.weights,
        batch=args.batch,
        seed=args.seed,
        **{field: getattr(args, name) for name, field in TRAINING.items()},
    )


def read_option(word: str) -> tuple[str, Any]:
    """`box_nms_thresh=0.6` as a name and a value; `true` and `none` in any case, as for `yolo`."""
    name, _, value = word.partition("=")
    plain = value.capitalize() if value.lower() in ("true", "false", "none") else value
    try:
        return name, ast.literal_eval(plain)
    except (ValueError, SyntaxError):
        raise ValueError(f"--set {word}: expected NAME=VALUE, e.g. box_nms_thresh=0.6") from None


def run(args: argparse.Namespace) -> int:
    """Train, and report the last epoch."""
    from afpn_yolo.twostage.report import figures, table
    from afpn_yolo.twostage.train import train

    plan = plan_of(args)
    outcome = train(plan, args.out, args.device, args.workers, args.resume)
    if outcome is None:  # not the first of several processes
        return 0
    told = figures(plan, outcome)
    print(table(told))
    if args.json:
        args.json.write(told)
    return 0
