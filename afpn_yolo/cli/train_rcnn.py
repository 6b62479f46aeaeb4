"""Train Faster R-CNN or Dynamic R-CNN with AFPN, FPN or PAFPN on your own data.

Data in YOLO's format (a YAML) or COCO's (two JSONs, or a folder laid out as COCO's). The defaults
are the paper's: SGD, 12 epochs, batch 8, images of 800 x 1333. After every epoch PROJECT/NAME holds
last.pt, which --resume goes on from, best.pt, and results.csv.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from afpn_yolo.cli import add_json
from afpn_yolo.cli.evaluate import table

STOPPED = "stopped: --resume goes on from the last whole epoch"
NONE = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; those of a training have the names of `TrainConfig`."""
    add = parser.add_argument
    add("--data", required=True, help="data YAML, COCO JSON of the training, or COCO's folder")
    add(
        "--val-json",
        dest="val",
        help="COCO JSON to evaluate on; of test-dev: its detections are written",
    )
    add("--images", help="folder of the images of the training's JSON")
    add("--val-images", help="folder of the images of the other JSON")
    add("--project", type=Path, default=Path("runs/rcnn"), help="folder of trainings (runs/rcnn)")
    add("--name", default="train", help="folder of this training in it (train)")
    add("--resume", action="store_true", help="go on from the folder's last.pt, if there is one")
    add("--device", help="cpu, 0, or several GPUs, 0,1 (a GPU, where there is one)")
    add("--workers", type=int, default=4, help="processes that load images, per GPU (4)")
    add_json(parser)

    model = parser.add_argument_group("detector").add_argument
    model("--detector", choices=("faster", "dynamic"), help="R-CNN (faster)")
    model("--neck", choices=("afpn", "fpn", "pafpn"), help="(afpn)")
    model("--resnet", dest="backbone", help="a ResNet of torchvision's (resnet50)")
    start = "what the backbone starts from: torchvision's name, a file, or none (IMAGENET1K_V1)"
    model("--weights", default="IMAGENET1K_V1", help=start)
    model("--trainable-layers", type=int, help="of the backbone, from the last (3; 5 with none)")
    model("--upsample", choices=("bilinear", "carafe"), help="AFPN's upsampling (bilinear)")
    model("--fusion", choices=("asff", "sum", "concat"), help="how AFPN combines levels (asff)")
    model("--p6", choices=("pool", "conv"), help="how P6 is made (pool)")
    more = "more arguments of torchvision's FasterRCNN"
    model("--set", dest="options", nargs="+", default=[], metavar="NAME=VALUE", help=more)

    how = parser.add_argument_group("training").add_argument
    how("--epochs", type=int, help="12, 24 and 36 have the paper's schedule (12)")
    how("--batch", type=int, help="images a step, over all GPUs (8)")
    how("--lr", type=float, help="learning rate (0.01 for 8 images, in proportion)")
    how("--momentum", type=float, help="of SGD (0.9)")
    how("--weight-decay", type=float, help="of SGD (0.0001)")
    how("--warmup", type=int, help="iterations in which the learning rate rises (500)")
    how("--grad-clip", dest="clip", type=float, help="largest norm of the gradient (0: any)")
    side = "shorter side in pixels; of several, one at random, the last in evaluation (800)"
    how("--min-size", type=int, nargs="+", help=side)
    how("--max-size", type=int, help="longest side in pixels (1333)")
    how("--flip", type=float, help="probability of mirroring an image (0.5)")
    how("--crop", type=float, help="smallest share of a side kept (1: no cropping)")
    how("--amp", action="store_true", help="mixed precision")
    how("--seed", type=int, help="of all random choices (0)")


def read_options(words: Iterable[str]) -> dict[str, Any]:
    """Values by name of `box_nms_thresh=0.6`; `true` and `none` in any case, as for `yolo`."""
    options = {}
    for word in words:
        name, _, value = word.partition("=")
        plain = value.capitalize() if value.lower() in ("true", "false", NONE) else value
        try:
            options[name] = ast.literal_eval(plain)
        except (ValueError, SyntaxError):
            example = "box_nms_thresh=0.6"
            raise ValueError(f"--set {word}: expected NAME=VALUE, e.g. {example}") from None
    return options


def run(args: argparse.Namespace) -> int:
    """Train, and report the last epoch."""
    from afpn_yolo.twostage.config import TrainConfig
    from afpn_yolo.twostage.train import BEST, SERVER, TABLE, record_of, train

    asked = {key: value for key, value in vars(args).items() if str(value).lower() != NONE}
    config = TrainConfig.of({**asked, "options": read_options(args.options)})
    last = train(config, args.project / args.name, args.device, args.workers, args.resume)
    if last is None:  # not the first of several processes
        return 0
    record = record_of(last)
    print(table(record["metrics"], record["per_class"]))
    for path in (last, *(last.with_name(name) for name in (BEST, TABLE, SERVER))):
        if path.exists():
            print(path)
    if args.json:
        args.json.write(record)
    return 0
