"""Measure what necks cost where they run: time, memory, size; side by side, their calls in turn.

    python scripts/benchmark.py --scales n s
    python scripts/benchmark.py --quick --runtimes pytorch onnxruntime
    python scripts/benchmark.py --models PAFPN=yolov5n.yaml mine=my/net.yaml --parts neck

Writes a JSON list of rows after every case, and beside it a Markdown table and a bar chart. The
models are untrained: time doesn't depend on what they have learnt. To put the table of an earlier
run into a document, between its two marks:

    python scripts/benchmark.py --json results/benchmark.json --render docs/edge.md
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from afpn_yolo.bench.cases import PARTS, PRECISIONS, RUNTIMES, Case, Choice, cases, check_installed
from afpn_yolo.cli.command import command
from afpn_yolo.compare.plan import PAPER, parse_necks

SCALES = ("n", "s", "m", "l", "x")
QUICK = {"scales": ["n"], "imgsz": [320], "batch": [1], "runs": 10}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--models",
        nargs="+",
        metavar="[LABEL=]MODEL",
        help=f"model YAMLs, or .pt files ({' '.join(PAPER['IV'])})",
    )
    add("--scales", nargs="+", choices=SCALES, help="of the YAMLs (n s, where none are named)")
    add(
        "--parts", nargs="+", choices=PARTS, default=[*PARTS], help="neck alone, whole model (both)"
    )
    add("--runtimes", nargs="+", choices=RUNTIMES, default=[*RUNTIMES], help="(all)")
    add("--precisions", nargs="+", choices=PRECISIONS, default=[*PRECISIONS], help="(both)")
    add(
        "--imgsz",
        nargs="+",
        type=int,
        help="sides in pixels, each at the first batch size (640 320 480 960 1280)",
    )
    add("--batch", nargs="+", type=int, help="batch sizes, each at the first of the sides (1 4 8)")
    add("--train-batch", type=int, default=8, help="batch size of pytorch-train (8)")
    add("--runs", type=int, help="timed calls of each model (50)")
    add("--warmup", type=int, default=10, help="calls before them (10)")
    add("--threads", type=int, default=2, help="of every runtime (2)")
    add(
        "--quick",
        action="store_true",
        help="scale n, 320 pixels, batch 1, 10 runs, as far as nothing else is said",
    )
    add(
        "--json", type=Path, default=Path("results/benchmark.json"), help="(results/benchmark.json)"
    )
    add("--render", type=Path, metavar="FILE.md", help="measure nothing, put the table in there")
    args = parser.parse_args(argv)
    usual = {"scales": ["n", "s"], "imgsz": [640, 320, 480, 960, 1280], "batch": [1, 4, 8]}
    if args.models and args.scales is None:
        args.scales = []  # they stand in the names
    args.models = args.models or [*PAPER["IV"]]
    for name, value in (QUICK if args.quick else {**usual, "runs": 50}).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name in ("runs", "threads", "train_batch"):
        if getattr(args, name) < 1:
            parser.error(
                f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}"
            )
    if args.warmup < 0:
        parser.error(f"--warmup must be at least 0, got {args.warmup}")
    if wrong := [batch for batch in args.batch if batch < 1]:
        parser.error(f"--batch must be at least 1, got {wrong[0]}")
    if wrong := [size for size in args.imgsz if size < 32 or size % 32]:
        parser.error(f"--imgsz must be multiples of 32, got {wrong[0]}")
    if args.json.suffix != ".json":
        parser.error(f"--json {args.json}: the name must end in .json")
    return args


def plan(args: argparse.Namespace) -> list[Case]:
    """What to measure, all of it possible here."""
    necks = parse_necks(args.models, args.scales)
    sizes, batches = dict.fromkeys(args.imgsz), dict.fromkeys(args.batch)
    choice = Choice(
        args.parts, args.runtimes, args.precisions, [*sizes], [*batches], args.train_batch
    )
    planned = cases(necks, choice)
    check_installed(planned)
    return planned


def measure(args: argparse.Namespace) -> None:
    """Measure, and write after every case."""
    planned = plan(args)
    from ultralytics.utils import TQDM  # here, so that --help needs no torch

    from afpn_yolo.base.files import write_json
    from afpn_yolo.bench.measure import Benchmark

    rows = []
    with TQDM(total=len(planned), desc="Measuring", unit=" cases", file=sys.stderr) as bar:
        for case, found in Benchmark(args.runs, args.warmup, args.threads).measure(planned):
            rows += found
            write_json(args.json, rows)
            bar.set_description(case.name)
            bar.update()


def report(args: argparse.Namespace) -> None:
    """Print the table and write it; draw the chart."""
    from afpn_yolo.bench.figure import bars
    from afpn_yolo.bench.table import insert, markdown, read

    rows = read(args.json)
    text = markdown(rows)
    if args.render:
        insert(args.render, text)
    args.json.with_suffix(".md").write_text(text, encoding="utf-8")
    bars(rows, args.json.with_suffix(".png"))
    print(text)


@command(stopped="stopped; what was measured is in the JSON", failures=(RuntimeError,))
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    # A package that is installed, or a word that is said, in the middle would be measured, too.
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    if not args.render:
        measure(args)
    report(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
