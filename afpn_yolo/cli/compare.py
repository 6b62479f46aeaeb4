"""Train and evaluate necks under equal conditions, and set them side by side.

    afpn compare --data my.yaml --quick

tells which neck to take for your data: no neck, PAFPN, AFPN and its lite form, three seeds each, in
a short schedule, with one bar for all of it. --epochs, --imgsz and the others change it.

    afpn compare --data my.yaml --epochs 100 --seeds 0 1 2 --control

trains PAFPN and AFPN (the paper's Table IV); `--table V` its three fusions. I, II, III and V-rcnn
are of two-stage detectors, in the paper's schedules, on COCO's folder or a data YAML:

    afpn compare --table I --data coco --device 0,1

Or name any models:

    afpn compare PAFPN=yolov5nu.pt AFPN=yolov5n-afpn-start.pt --data my.yaml

Results go to OUT/NAME.json, .md and .html (one file that opens without a network), and two PNGs,
after every run. Stop it whenever you like: the same command goes on where it stopped. Started
twice, it shares the runs between both processes.

    afpn compare results/a.json results/b.json --pareto results/benchmark.json

trains nothing: it draws AP over milliseconds and over parameters into OUT/NAME.png.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from afpn_yolo.cli import twostage_table
from afpn_yolo.cli.arguments import SCALES, add_json, check_least

STOPPED = "stopped; the same command goes on from here"
USUAL: dict[str, Any] = {"epochs": 300, "imgsz": 640, "batch": 16, "seeds": [0]}
NOTHING = Path("none")
FIRST = "looking at data and models ..."
RANDOM = (
    "the YAMLs start from random weights, which takes long schedules: --backbone FILE starts them "
    "from the backbone of a checkpoint, a file for each scale; --backbone none leaves this line out"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `Command`."""
    add = parser.add_argument
    add("necks", nargs="*", metavar="[LABEL=]MODEL", help="model YAMLs, or .pt files to fine-tune")
    add(
        "--table",
        choices=("I", "II", "III", "IV", "V", "V-rcnn"),
        help="the paper's table, where no models are named (IV)",
    )
    add("--data", help="data set, as yolo takes it")
    add(
        "--quick",
        action="store_true",
        help="a short comparison with a verdict, as far as nothing else is said",
    )
    add("--control", action="store_true", help="compare a model without a neck, too")
    add("--scales", nargs="+", choices=SCALES, help="scales of the YAMLs (n, for a table)")
    add("--epochs", type=int, help="epochs of every run (300; --quick: by the number of images)")
    add("--imgsz", type=int, help="image side in pixels (640; --quick without a GPU: 320)")
    add("--batch", type=int, help="batch size over all GPUs (16; two-stage: 8)")
    add("--seeds", nargs="+", type=int, help="one run each (0; --quick: 0 1 2)")
    add(
        "--backbone",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a .pt or .npz for each scale: its backbone, and nothing else, starts every YAML "
        "(--quick: YOLOv5u's, from COCO; none: random weights)",
    )
    add("--resnet", metavar="NAME", help="two-stage: resnet18 or another for the table's ResNets")
    add("--device", help="as yolo takes it: cpu, 0, 0,1,2,3 (chosen by Ultralytics)")
    add("--workers", type=int, default=8, help="processes that load data (8)")
    add(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="more of Ultralytics' arguments; two-stage: of torchvision's FasterRCNN, or lr, "
        "momentum, weight_decay, warmup, clip, flip, crop, trainable_layers, amp as in train-rcnn",
    )
    add("--name", help="name of the comparison (the data set's; with --quick: SET-quick)")
    add("--out", type=Path, default=Path("results"), help="folder of the results (results)")
    add(
        "--runs", type=Path, default=Path("runs/compare"), help="folder of trainings (runs/compare)"
    )
    add("--pareto", type=Path, metavar="BENCH.json", help="draw results over a benchmark's times")
    add("--part", default="model", choices=("model", "neck"), help="of --pareto's times (model)")
    add("--runtime", default="onnxruntime", help="of --pareto's times (onnxruntime)")
    add("--precision", default="fp32", help="of --pareto's times (fp32)")
    add_json(parser, "runs, conditions and verdict")


def run(args: argparse.Namespace) -> int:
    """See `Command`."""
    check_least(args, epochs=1, imgsz=1, batch=1, workers=0, seeds=0)
    if args.name and Path(args.name).name != args.name:
        raise ValueError(f"--name {args.name}: a name, no path; --out is the folder")
    if args.pareto:
        return _pareto(args)
    if not args.data:
        raise ValueError("--data is missing: the data set, as yolo takes it")
    if sys.stderr.isatty():  # where somebody waits: the imports alone can take half a minute
        print(FIRST, file=sys.stderr, flush=True)
    if args.table in twostage_table.TABLES:
        return twostage_table.run(args)
    if args.resnet:
        raise ValueError("--resnet is for the two-stage tables; name models or YAMLs instead")
    # Here, so that --help needs no torch.
    from afpn_yolo.compare.baseline import with_control
    from afpn_yolo.compare.plan import PAPER, parse_necks
    from afpn_yolo.compare.quick import NECKS
    from afpn_yolo.compare.run import Comparison
    from afpn_yolo.upstream.overrides import read_settings

    extra = read_settings(args.set, "--set")
    scales = args.scales or ([] if args.necks else ["n"])
    usual = NECKS if args.quick and not args.table else PAPER[args.table or "IV"]
    necks = parse_necks(args.necks or usual, scales)
    if args.control or args.quick:
        necks = with_control(necks)
    if args.quick:
        extra = _shorten(args, extra)
    for name, value in USUAL.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    comparison = Comparison(
        necks=necks,
        seeds=args.seeds,
        data=args.data,
        epochs=args.epochs,
        imgsz=args.imgsz,
        batch=args.batch,
        backbones=_backbones(args, scales),
        extra=extra,
        out=args.out,
        folder=args.runs,
        name=args.name or f"{Path(args.data).stem}{'-quick' if args.quick else ''}",
    )
    if args.backbone != [NOTHING] and comparison.starts_from_random():
        print(RANDOM, file=sys.stderr)
    failed = comparison.carry_out(args.device, args.workers, bar=args.quick)
    print(comparison.results().markdown())
    for path in comparison.files():
        print(path)
    if args.json:
        args.json.write(comparison.records.content())
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if failed else 0


def _shorten(args: argparse.Namespace, extra: dict[str, Any]) -> dict[str, Any]:
    """Fill in what `--quick` chooses where the user has not; returns the further settings."""
    from afpn_yolo.compare.quick import SEEDS, schedule
    from afpn_yolo.upstream.data import images_of
    from afpn_yolo.upstream.loading import uses_gpu

    epochs, fraction = schedule(len(images_of(args.data, "train")))
    if args.epochs is None:
        args.epochs = epochs
        if fraction < 1:
            extra = {"fraction": fraction} | extra
    args.imgsz = args.imgsz or (640 if uses_gpu(args.device) else 320)
    args.seeds = args.seeds or [*SEEDS]
    return extra


def _backbones(args: argparse.Namespace, scales: list[str]) -> list[Path]:
    if args.backbone == [NOTHING]:
        return []
    if args.backbone or not args.quick or not scales:
        return args.backbone or []
    from afpn_yolo.upstream.loading import coco_checkpoint

    try:
        return [coco_checkpoint(scale) for scale in scales]
    except ValueError as error:
        raise ValueError(
            f"--quick starts from backbones that know COCO: {error}; name files by --backbone, or "
            "write --backbone none to start from random weights, which takes longer schedules"
        ) from None


def _pareto(args: argparse.Namespace) -> int:
    """Draw, instead of training."""
    from afpn_yolo.base.files import written_whole
    from afpn_yolo.compare.pareto import pareto, untimed

    if not args.necks or any(Path(word).suffix != ".json" for word in args.necks):
        raise ValueError("--pareto takes results of comparisons: afpn compare A.json B.json ...")
    results = [Path(word) for word in args.necks]
    times = (args.part, args.runtime, args.precision)
    figure = pareto(results, args.pareto, *times)
    if told := untimed(results, args.pareto, *times):
        print(told, file=sys.stderr)
    path = args.out / f"{args.name or 'pareto'}.png"
    with written_whole(path) as part:
        figure.savefig(part, format="png")
    print(path)
    return 0
