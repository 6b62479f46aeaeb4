"""Put an AFPN neck into a stock Ultralytics model YAML, or one of your own.

afpn graft yolo11n-seg.yaml --neck lite -o my.yaml

Backbone and head stay as they are. The new YAML is printed, or written with -o. For models that
Ultralytics ships no file is needed: `yolo train model=yolo11n-afpn-lite-seg.yaml` grafts by name.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


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
        "--table", action="store_true", help="print what the necks take in each family, and no YAML"
    )


def run(args: argparse.Namespace) -> int:
    """See `Command`."""
    from afpn_yolo.base.files import written_whole
    from afpn_yolo.graft import graft, named_scale

    if args.table:
        from afpn_yolo.bench.families import FAMILIES, table

        for line in table([Path(args.model).stem] if args.model else FAMILIES):
            print(line, flush=True)
        return 0
    if args.model is None:
        raise ValueError("name a model YAML, such as yolo11n.yaml, or ask for --table")
    if args.output is None:
        print(graft(args.model, args.neck).text, end="")
        return 0
    if args.output.suffix not in (".yaml", ".yml"):
        raise ValueError(f"{args.output}: Ultralytics opens model YAMLs named *.yaml only")
    asked = named_scale(args.model)
    named = named_scale(args.output.name)
    text = graft(args.model, args.neck, None if named else asked).text
    with written_whole(args.output) as part:
        part.write_text(text, encoding="utf-8")
    print(args.output)
    if asked and not named:
        print(f"{args.output.name} names no scale: it is built at {asked}", file=sys.stderr)
    return 0
