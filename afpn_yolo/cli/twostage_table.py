"""`afpn compare --table I`, II, III and V-rcnn: the paper's two-stage detectors, row by row."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from afpn_yolo.cli.train_rcnn import NONE, read_option

if TYPE_CHECKING:
    from afpn_yolo.twostage.config import TrainConfig

TABLES = ("I", "II", "III", "V-rcnn")
TRAINING = {
    **{key: key for key in ("lr", "weight_decay", "amp", "momentum", "warmup", "flip", "crop")},
    "grad_clip": "clip",
    "trainable_layers": "trainable_layers",
}
"""What `--set` takes beside the arguments of torchvision's FasterRCNN, and `TrainConfig`'s name."""


def comparison(args: argparse.Namespace) -> Any:
    """The `Comparison` of a table."""
    from afpn_yolo.base.errors import EvaluationError
    from afpn_yolo.compare.plan import default_name
    from afpn_yolo.compare.runner import Comparison
    from afpn_yolo.twostage.paper_tables import TableRuns, rows_of

    name = args.name or f"{default_name(args.data)}-{args.table}"
    rows = rows_of(args.table, args.resnet, args.epochs)
    runs = TableRuns(rows, _base(args), args.device, args.workers)
    folder, seeds = args.project / name, args.seeds or [0]
    without_data = Comparison(name, args.out, folder, runs.plan(seeds, False), runs, judged=False)
    missing = without_data.check()
    try:
        return Comparison(name, args.out, folder, runs.plan(seeds), runs, judged=False)
    except EvaluationError:
        if missing:  # the table of finished runs needs no data
            raise
        return without_data


def _base(args: argparse.Namespace) -> TrainConfig:
    """What all rows share.

    Raises:
        ValueError: On options of the YOLO tables.
    """
    from afpn_yolo.twostage.config import TrainConfig
    from afpn_yolo.twostage.models import BACKBONES
    from afpn_yolo.twostage.pyramid import check_choice

    for option in ("necks", "quick", "control", "scales"):
        if getattr(args, option):
            name = "models" if option == "necks" else f"--{option}"
            raise ValueError(f"--table {args.table} has rows of its own: leave out {name}")
    if args.resnet:
        check_choice("--resnet", args.resnet, BACKBONES)
    weights: list[Any] = args.backbone or ["IMAGENET1K_V1"]
    if len(weights) > 1:
        raise ValueError(f"--table {args.table} starts from one --backbone, or none")
    options = dict(read_option(word) for word in args.set)
    training = {TRAINING[key]: options.pop(key) for key in [*options] if key in TRAINING}
    sizes = {"min_size": (args.imgsz,), "max_size": args.imgsz} if args.imgsz else {}
    return TrainConfig(
        data=args.data,
        weights=None if str(weights[0]).lower() == NONE else str(weights[0]),
        batch=args.batch or TrainConfig.batch,
        options=options,
        **sizes,
        **training,
    )
