"""Put an AFPN neck into a stock Ultralytics model YAML, or one of your own.

afpn graft yolo11n-seg.yaml --neck lite -o my.yaml

Backbone and head stay as they are. The new YAML is printed, or written with -o. For models that
Ultralytics ships no file is needed: `yolo train model=yolo11n-afpn-lite-seg.yaml` grafts by name.
"""

from __future__ import annotations

import argparse
import io
import sys

from afpn_yolo.cli import add_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    parser.add_argument("model", help="model YAML as `yolo train` takes it: yolo11n-seg.yaml")
    kinds = (
        "afpn: as published (the default), lite: smaller, hybrid: from checkpoints, lite-sum, sum, "
        "concat: without ASFF, none"
    )
    parser.add_argument("--neck", default="afpn", metavar="KIND", help=kinds)
    add_output(parser, ".yaml", "it must be new")


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    from afpn_yolo.base.files import written_whole
    from afpn_yolo.graft import graft, named_scale

    asked, output = named_scale(args.model), args.output
    named = named_scale(output.name) if output else None
    result = graft(args.model, args.neck, None if named else asked)
    warnings = [result.warning] if result.warning else []
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # redirected into a file, it is a model YAML
            sys.stdout.reconfigure(encoding="utf-8")
        print(result.text, end="")
    else:
        if output.exists() and output.read_bytes() != result.text.encode():
            raise ValueError(f"{output}: there is another file of that name; it is not overwritten")
        with written_whole(output) as part:
            part.write_text(result.text, encoding="utf-8")
        print(output)
        if asked in result.content.get("scales", ()) and not named:
            warnings.append(f"{output.name} names no scale: it is built at {asked}")
    for warning in warnings:
        print(warning, file=sys.stderr)
    return 0
