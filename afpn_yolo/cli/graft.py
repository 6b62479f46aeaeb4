"""Put an AFPN neck into a stock Ultralytics model YAML, or one of your own.

afpn graft yolo11n-seg.yaml --neck lite -o my.yaml

Backbone and head stay as they are. The new YAML is printed, or written with -o. For models that
Ultralytics ships no file is needed: `yolo train model=yolo11n-afpn-lite-seg.yaml` grafts by name.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

YAMLS = (".yaml", ".yml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    parser.add_argument("model", help="model YAML as `yolo train` takes it: yolo11n-seg.yaml")
    parser.add_argument(
        "--neck",
        default="afpn",
        metavar="KIND",
        help="afpn: as published (the default); lite: smaller and faster; sum, concat: in place of "
        "its ASFF; none: a control",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE.yaml", help="file to write; it must be new"
    )


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    from afpn_yolo.base.files import written_whole
    from afpn_yolo.graft import graft, named_scale

    asked = named_scale(args.model)
    output: Path | None = args.output
    if output is None:
        result = graft(args.model, args.neck, asked)
        if isinstance(sys.stdout, io.TextIOWrapper):  # redirected into a file, it is a model YAML
            sys.stdout.reconfigure(encoding="utf-8")
        print(result.text, end="")
        _warn(result.warning)
        return 0
    if output.suffix not in YAMLS:
        raise ValueError(f"{output}: Ultralytics opens model YAMLs named *.yaml only")
    named = named_scale(output.name)
    result = graft(args.model, args.neck, None if named else asked)
    if output.exists() and output.read_bytes() != result.text.encode():
        raise ValueError(f"{output}: there is another file of that name; it is not overwritten")
    with written_whole(output) as part:
        part.write_text(result.text, encoding="utf-8")
    print(output)
    _warn(result.warning)
    if asked in result.content.get("scales", ()) and not named:
        _warn(f"{output.name} names no scale: it is built at {asked}")
    return 0


def _warn(text: str) -> None:
    """Print to standard error: standard output may be redirected into a model YAML."""
    if text:
        print(text, file=sys.stderr)
