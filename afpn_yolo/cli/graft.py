"""Put an AFPN neck into a stock Ultralytics model YAML, or one of your own.

afpn graft yolo11n-seg.yaml --neck lite -o my.yaml

Backbone and head stay as they are. The new YAML is printed, or written with -o. For models that
Ultralytics ships no file is needed: `yolo train model=yolo11n-afpn-lite-seg.yaml` grafts by name.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from afpn_yolo.cli.arguments import add_json
from afpn_yolo.cli.command import PARTLY

if TYPE_CHECKING:
    from afpn_yolo.deploy.families import Family

YAMLS = (".yaml", ".yml")
ROUNDS = (25, 5, 2)  # timed, before them; threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `Command`."""
    parser.add_argument(
        "model", nargs="?", help="model YAML as `yolo train` takes it: yolo11n-seg.yaml"
    )
    parser.add_argument(
        "--neck",
        default="afpn",
        metavar="KIND",
        help="afpn: as published (the default); lite: smaller and faster; sum, concat: in place of "
        "its ASFF; none: a control",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.yaml", help="file to write")
    parser.add_argument(
        "--table",
        action="store_true",
        help="print what AFPN and its lite form take in each family, or in this model, and no "
        "YAML; exit code 1 where it is more than the stock neck",
    )
    parser.add_argument(
        "--export",
        action="store_true",
        help="with --table: export every model to ONNX, too, those for other tasks among them, and "
        "say how far AFPN and lite are from PyTorch, as a share of the largest value (minutes)",
    )
    parser.add_argument(
        "--time",
        action="store_true",
        help="with --table: take the milliseconds of each neck and model in ONNX Runtime, 640 "
        "pixels, 2 threads: medians of 25 calls, stock, AFPN and lite in turn (some minutes)",
    )
    add_json(parser, "the table")


def run(args: argparse.Namespace) -> int:
    """See `Command`."""
    from afpn_yolo.base.files import written_whole
    from afpn_yolo.graft import graft, named_scale

    if args.table:
        return _table(args)
    if args.export or args.time or args.json:
        raise ValueError("--export, --time and --json go with --table")
    if args.model is None:
        raise ValueError("name a model YAML, such as yolo11n.yaml, or ask for --table")
    if args.output is None:
        made = graft(args.model, args.neck, named_scale(args.model))
        if isinstance(sys.stdout, io.TextIOWrapper):  # a file that it is led into is a model YAML
            sys.stdout.reconfigure(encoding="utf-8")
        print(made.text, end="")
        _remark(made.remark)
        return 0
    if args.output.suffix not in YAMLS:
        raise ValueError(f"{args.output}: Ultralytics opens model YAMLs named *.yaml only")
    if args.output.exists() and Path(args.model).exists() and args.output.samefile(args.model):
        raise ValueError(f"{args.output}: it is the model itself; name another file")
    asked = named_scale(args.model)
    named = named_scale(args.output.name)
    made = graft(args.model, args.neck, None if named else asked)
    with written_whole(args.output) as part:
        part.write_text(made.text, encoding="utf-8")
    print(args.output)
    _remark(made.remark)
    if asked in made.content.get("scales", ()) and not named:
        _remark(f"{args.output.name} names no scale: it is built at {asked}")
    return 0


def _remark(text: str) -> None:
    """Say something about the YAML, which is beside it: standard output may be led into a file."""
    if text:
        print(text, file=sys.stderr)


def _table(args: argparse.Namespace) -> int:
    """Print the table, row by row; a JSON file has what was measured so far."""
    from afpn_yolo.deploy.cases import check_installed
    from afpn_yolo.deploy.families import FAMILIES, TASKS, families, table, timed_cases
    from afpn_yolo.upstream.log import progress

    names = [f"{name}.yaml" for name in (*FAMILIES, *(TASKS if args.export else ()))]
    if args.model:
        model = Path(args.model)
        if model.is_file() and (args.export or args.time):
            raise ValueError(f"{model}: --export and --time take models by name, no file")
        own = model.is_file() and model.suffix in YAMLS
        names = [str(model) if own else f"{model.stem}.yaml"]
    benchmark = None
    if args.time:
        check_installed(timed_cases(names[0]))
        from afpn_yolo.deploy.measure import Benchmark

        benchmark = Benchmark(*ROUNDS)
    rows: list[Family] = []

    def measured() -> Iterator[Family]:
        for row in families(progress(names, "Families"), args.export, benchmark):
            rows.append(row)
            if args.json and args.json.path:
                args.json.write([asdict(row) for row in rows])
            yield row

    for line in table(measured(), bool(benchmark)):
        print(line, flush=True)
    if args.json and not args.json.path:
        args.json.write([asdict(row) for row in rows])
    overruns = [line for row in rows for line in row.overruns()]
    for line in overruns:
        print(line, file=sys.stderr)
    return PARTLY if overruns else 0
