"""`afpn compare --table I`, II, III and V-rcnn: the paper's two-stage detectors, row by row."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, cast

from afpn_yolo.cli.train_rcnn import TRAINING, read_option

if TYPE_CHECKING:
    from afpn_yolo.twostage.plan import Plan

TABLES = ("I", "II", "III", "V-rcnn")
BATCH = 8  # the paper's


def run(args: argparse.Namespace) -> int:
    """Train what is not trained yet, and write the table after every run."""
    from afpn_yolo.compare.plan import Candidate, default_name
    from afpn_yolo.compare.results import ENDS, Results
    from afpn_yolo.twostage.paper_tables import Record, carry_out, rows_of

    base = _plan(args)
    name = args.name or f"{default_name(args.data)}-{args.table}"
    necks = [Candidate(entry.label, entry.label) for entry in rows_of(args.table, args.epochs)]

    def results(records: dict[str, Record]) -> Results:
        return Results.of(necks, cast(Any, records), judged=False)

    records = carry_out(
        args.table,
        base,
        args.out / f"{name}.json",
        args.project / name,
        seeds=args.seeds or [0],
        device=args.device,
        workers=args.workers,
        backbone=args.resnet,
        epochs=args.epochs,
        finished=lambda done: results(done).write_markdown(args.out, name),
    )
    results(records).write(args.out, name)
    print(results(records).markdown())
    for path in (args.out / f"{name}{end}" for end in (".json", *ENDS)):
        if path.exists():
            print(path)
    if args.json:
        args.json.write(records)
    return 0


def _plan(args: argparse.Namespace) -> Plan:
    """What all rows share.

    Raises:
        ValueError: On options of the YOLO tables.
    """
    from afpn_yolo.twostage.data import Source
    from afpn_yolo.twostage.design import Design, Sides
    from afpn_yolo.twostage.models import BACKBONES
    from afpn_yolo.twostage.plan import Plan
    from afpn_yolo.twostage.pyramid import check_choice

    for option in ("necks", "quick", "control", "scales"):
        if getattr(args, option):
            told = "models" if option == "necks" else f"--{option}"
            raise ValueError(f"--table {args.table} has rows of its own: leave out {told}")
    if args.resnet:
        check_choice("--resnet", args.resnet, BACKBONES)
    weights: list[Any] = args.backbone or ["IMAGENET1K_V1"]
    if len(weights) > 1:
        raise ValueError(f"--table {args.table} starts from one --backbone, or none")
    start = str(weights[0])
    options = dict(read_option(word) for word in args.set)
    training = {TRAINING[name]: options.pop(name) for name in [*options] if name in TRAINING}
    return Plan(
        source=Source.named(args.data),
        design=Design(options=options),
        sides=Sides((args.imgsz,), args.imgsz) if args.imgsz else Sides(),
        weights_backbone=None if start.lower() == "none" else start,
        batch=args.batch or BATCH,
        **training,
    )
