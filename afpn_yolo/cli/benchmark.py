"""Measure what necks cost where they run: time, memory, size; side by side, their calls in turn.

    afpn benchmark --quick
    afpn benchmark --scales n s
    afpn benchmark --models PAFPN=yolov5n.yaml mine=my/net.yaml --parts neck

Writes a JSON list of rows after every case, and beside it a Markdown table and a bar chart. The
models are untrained: time doesn't depend on what they have learnt. On a busy machine, or where the
times of neighbouring calls vary too much, a warning says so.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from afpn_yolo.cli import SCALES, JsonTarget, check_least, model_name
from afpn_yolo.compare.plan import CONTROL, PAPER, QUICK_NECKS, parse_necks
from afpn_yolo.deploy.cases import (
    PARTS,
    PRECISIONS,
    RUNTIMES,
    TITLES,
    TRAINING,
    Case,
    cases,
    check_installed,
    left_out,
)
from afpn_yolo.edge.command import PARTLY, complain

if TYPE_CHECKING:
    from afpn_yolo.deploy.measure import Row

USUAL: dict[str, Any] = {
    "models": [*PAPER["IV"]],
    "precisions": [*PRECISIONS],
    "scales": ["n", "s"],
    "imgsz": [640, 320, 480, 960, 1280],
    "batch": [1, 4, 8],
    "repeats": 50,
}
QUICK: dict[str, Any] = {
    "models": [f"{CONTROL}=yolov5-none.yaml", *QUICK_NECKS],  # those of afpn compare --quick
    "runtimes": ["pytorch", "onnxruntime"],  # what every benchmark needs anyway
    "precisions": ["fp32"],
    "scales": ["n"],
    "imgsz": [320],
    "batch": [1],
    "repeats": 10,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    add = parser.add_argument
    models = f"model YAMLs, or .pt files ({' '.join(PAPER['IV'])}; --quick: four necks)"
    add("--models", nargs="+", metavar="[LABEL=]MODEL", help=models)
    add("--scales", nargs="+", choices=SCALES, help="of the YAMLs (n s, where none are named)")
    parts = "neck alone, whole model (both)"
    add("--parts", nargs="+", choices=PARTS, default=[*PARTS], help=parts)
    runtimes = "(all that are installed; --quick: pytorch onnxruntime)"
    add("--runtimes", nargs="+", choices=RUNTIMES, help=runtimes)
    add("--precisions", nargs="+", choices=PRECISIONS, help="(both; --quick: fp32)")
    sizes = "sides in pixels, each at the first batch size (640 320 480 960 1280)"
    add("--imgsz", nargs="+", type=int, help=sizes)
    add("--batch", nargs="+", type=int, help="batch sizes, each at the first of the sides (1 4 8)")
    add("--train-batch", type=int, default=8, help="batch size of pytorch-train (8)")
    add("--repeats", type=int, help="timed calls of each model (50)")
    add("--warmup", type=int, default=10, help="calls before them (10)")
    add("--threads", type=int, default=2, help="of every runtime (2)")
    quick = (
        "the necks of compare --quick in PyTorch and ONNX Runtime, float32, scale n, 320 pixels, "
        "batch 1, 10 repeats, where no other option says otherwise"
    )
    add("--quick", action="store_true", help=quick)
    file = "results/benchmark.json"
    where = f"({file}); - is standard output, and no other file is written"
    add("--json", type=JsonTarget, metavar="FILE", default=file, help=where)


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    planned = plan(args)  # it says what isn't installed, before that is imported
    from afpn_yolo.deploy.measure import BenchmarkError, markdown, quality
    from afpn_yolo.plots.charts import bars

    try:
        rows = measure(planned, args)
    except BenchmarkError as error:
        complain(error)
        return PARTLY
    text, path = markdown(rows), args.json.path
    if path:
        path.with_suffix(".md").write_text(text, encoding="utf-8")
        # Training takes several times as long: its bars would dwarf the others.
        drawn = [row for row in rows if row["runtime"] != TRAINING] or rows
        bars(drawn, path.with_suffix(".png"), TITLES)
    else:
        args.json.write(rows)
    print(text)
    for sentence in quality(rows):
        print(f"warning: {sentence}", file=sys.stderr)
    return 0


def plan(args: argparse.Namespace) -> list[Case]:
    """What to measure, all of it possible here; the arguments get their defaults."""
    if args.models and args.scales is None:
        args.scales = []  # they stand in the names
    for name, value in (QUICK if args.quick else USUAL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    check_least(args, repeats=1, threads=1, train_batch=1, warmup=0, batch=1)
    if wrong := [size for size in args.imgsz if size < 32 or size % 32]:
        raise ValueError(f"--imgsz must be multiples of 32, got {wrong[0]}")
    path = args.json.path
    if path and path.suffix != ".json":
        raise ValueError(f"--json {path}: the name must end in .json")
    planned = cases(
        parse_necks([*map(model_name, args.models)], args.scales),
        args.parts,
        args.runtimes or RUNTIMES,
        args.precisions,
        [*dict.fromkeys(args.imgsz)],
        [*dict.fromkeys(args.batch)],
        args.train_batch,
    )
    if args.runtimes is None and (gone := left_out(planned)):
        names = " ".join(dict.fromkeys(" ".join(gone.values()).split()))
        ways = ", ".join(dict.fromkeys(f"{case.runtime} {case.precision}" for case in gone))
        print(f"left out: {ways}; they need: pip install {names}", file=sys.stderr)
        planned = [case for case in planned if case not in gone] or planned
    check_installed(planned)
    return planned


def measure(planned: list[Case], args: argparse.Namespace) -> list[Row]:
    """Measure, and write after every case."""
    # Installing a package or printing in the middle would be measured, too.
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    from tqdm import tqdm

    from afpn_yolo.deploy.measure import Benchmark

    rows: list[Row] = []
    try:
        with tqdm(total=len(planned), desc="Measuring", unit=" cases", disable=None) as bar:
            for case, new in Benchmark(args.repeats, args.warmup, args.threads).measure(planned):
                rows += new
                if args.json.path:
                    args.json.write(rows)
                bar.set_description(case.name)
                bar.update()
    except KeyboardInterrupt:
        saved = f"; what was measured is in {args.json.path}" if rows and args.json.path else ""
        raise KeyboardInterrupt(f"stopped{saved}") from None
    return rows
