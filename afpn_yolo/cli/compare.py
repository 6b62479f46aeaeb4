"""Train and evaluate necks under equal conditions, and compare them.

    afpn compare --data my.yaml --quick

tells which neck to take for your data: no neck, PAFPN, AFPN and its lite form, three seeds each, in
a short schedule, with one progress bar. --epochs, --imgsz and the others change it.

    afpn compare --data my.yaml --epochs 100 --seeds 0 1 2 --control

trains PAFPN and AFPN (the paper's Table IV); `--table V` its three fusions. I, II, III and V-rcnn
are two-stage detectors, in the paper's schedules, on COCO's folder or a data YAML:

    afpn compare --table I --data coco --device 0,1

Or name any models:

    afpn compare PAFPN=yolov5nu.pt AFPN=yolov5n-afpn-start.pt --data my.yaml

Results go to OUT/NAME.json and .md after every run, and to .html (one file that opens without a
network) and two PNGs at the end. Stop it whenever you like: the same command goes on where it
stopped. Started twice, both processes share the runs.

    afpn compare results/a.json results/b.json --pareto results/benchmark.json

trains nothing: it draws AP over milliseconds and over parameters into OUT/NAME.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afpn_yolo.cli import SCALES, add_json, check_least, model_name
from afpn_yolo.cli.train_rcnn import NONE, read_options

if TYPE_CHECKING:
    from afpn_yolo.compare.plan import Candidate
    from afpn_yolo.compare.yolo import YoloRuns
    from afpn_yolo.twostage.paper_tables import TableRuns

STOPPED = "stopped; the same command goes on from here"
NOTHING = Path(NONE)
TWO_STAGE = ("I", "II", "III", "V-rcnn")
TRAINING = {
    **{key: key for key in ("lr", "weight_decay", "momentum", "warmup", "flip", "crop", "amp")},
    "trainable_layers": "trainable_layers",
    "grad_clip": "clip",
}
"""What `--set` takes beside the arguments of torchvision's FasterRCNN, and its name in
`TrainConfig`."""
RANDOM = (
    "the YAMLs start from random weights, which takes long schedules: --backbone FILE starts them "
    "from the backbone of a checkpoint, a file for each scale; --backbone none hides this line"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    add = parser.add_argument
    add("necks", nargs="*", metavar="[LABEL=]MODEL", help="model YAMLs, or .pt files to fine-tune")
    tables = (*TWO_STAGE, "IV", "V")
    add("--table", choices=tables, help="the paper's table, where no models are named (IV)")
    add("--data", help="data set, as yolo takes it")
    add("--quick", action="store_true", help="a short comparison with a verdict")
    add("--control", action="store_true", help="compare a model without a neck, too")
    add("--scales", nargs="+", choices=SCALES, help="scales of the YAMLs (n, for a table)")
    add("--epochs", type=int, help="epochs of every run (300; --quick: by the number of images)")
    add("--imgsz", type=int, help="image side in pixels (640; --quick without a GPU: 320)")
    add("--batch", type=int, help="batch size over all GPUs (16; two-stage: 8)")
    add("--seeds", nargs="+", type=int, help="one run each (0; --quick: 0 1 2)")
    start = (
        "a .pt or .npz for each scale: its backbone, and nothing else, starts every YAML "
        "(--quick: YOLOv5u's, from COCO; none: random weights)"
    )
    add("--backbone", nargs="+", type=Path, metavar="FILE", help=start)
    add("--resnet", metavar="NAME", help="two-stage: resnet18 or another for the table's ResNets")
    add("--device", help="as yolo takes it: cpu, 0, 0,1,2,3 (chosen by Ultralytics)")
    add("--workers", type=int, default=8, help="processes that load data (8)")
    more = (
        "more of Ultralytics' arguments; two-stage: of torchvision's FasterRCNN, or train-rcnn's "
        + ", ".join(TRAINING)
    )
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help=more)
    add("--name", help="name of the comparison (the data set's; with --quick: SET-quick)")
    add("--out", type=Path, default=Path("results"), help="folder of the results (results)")
    where = "folder of the trainings (runs/compare)"
    add("--project", type=Path, default=Path("runs/compare"), help=where)
    add("--pareto", type=Path, metavar="BENCH.json", help="draw results over a benchmark's times")
    add("--part", default="model", choices=("model", "neck"), help="of --pareto's times (model)")
    add("--runtime", default="onnxruntime", help="of --pareto's times (onnxruntime)")
    add("--precision", default="fp32", help="of --pareto's times (fp32)")
    add_json(parser, "runs, conditions and verdict")


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    check_least(args, epochs=1, imgsz=1, batch=1, workers=0, seeds=0)
    if args.name and Path(args.name).name != args.name:
        raise ValueError(f"--name {args.name}: a name, no path; --out is the folder")
    if args.pareto:
        return _pareto(args)
    if not args.data:
        raise ValueError("--data is missing: the data set, as yolo takes it")
    two_stage = args.table in TWO_STAGE
    if args.resnet and not two_stage:
        raise ValueError("--resnet is for the two-stage tables; name models or YAMLs instead")
    if sys.stderr.isatty():  # where somebody waits: the imports alone can take half a minute
        print("looking at data and models ...", file=sys.stderr, flush=True)
    from afpn_yolo.base.errors import EvaluationError
    from afpn_yolo.compare.plan import default_name
    from afpn_yolo.compare.runner import Comparison

    end = f"-{args.table}" if two_stage else "-quick" if args.quick else ""
    name = args.name or f"{default_name(args.data)}{end}"
    folder = args.project / name
    runs: Any = _two_stage(args) if two_stage else _yolo(args, folder)

    def planned(with_data: bool) -> Comparison:
        plan = runs.plan(args.seeds or [0], with_data)
        return Comparison(name, args.out, folder, plan, runs, judged=not two_stage)

    try:
        comparison = planned(with_data=True)
    except EvaluationError:  # but the table of finished runs needs no data
        comparison = planned(with_data=False)
        if comparison.check():
            raise
    fresh = any(not run.neck.is_checkpoint for run in comparison.check())
    if fresh and not two_stage and not runs.backbones and args.backbone != [NOTHING]:
        print(RANDOM, file=sys.stderr)
    failures = comparison.run(bar=args.quick)
    print(comparison.results().markdown())
    for path in comparison.files():
        print(path)
    if args.json:
        args.json.write(comparison.content())
    for line in failures:
        print(f"error: {line}", file=sys.stderr)
    return 1 if failures else 0


def _two_stage(args: argparse.Namespace) -> TableRuns:
    """The rows of a table of two-stage detectors."""
    from afpn_yolo.twostage.config import TrainConfig
    from afpn_yolo.twostage.paper_tables import TableRuns, rows_of

    for option in ("necks", "quick", "control", "scales"):
        if getattr(args, option):
            name = "models" if option == "necks" else f"--{option}"
            raise ValueError(f"--table {args.table} has rows of its own: leave out {name}")
    weights = [*map(str, args.backbone or ["IMAGENET1K_V1"])]
    if len(weights) > 1:
        raise ValueError(f"--table {args.table} starts from one --backbone, or none")
    options = read_options(args.set)
    training = {TRAINING[key]: options.pop(key) for key in [*options] if key in TRAINING}
    sizes = {"min_size": (args.imgsz,), "max_size": args.imgsz} if args.imgsz else {}
    base = TrainConfig(
        data=args.data,
        weights=None if weights[0].lower() == NONE else weights[0],
        batch=args.batch or TrainConfig.batch,
        options=options,
        **sizes,
        **training,
    )
    return TableRuns(rows_of(args.table, args.resnet, args.epochs), base, args.device, args.workers)


def _yolo(args: argparse.Namespace, folder: Path) -> YoloRuns:
    """What is compared, and under which settings."""
    from afpn_yolo.compare.plan import PAPER, QUICK_NECKS, parse_necks
    from afpn_yolo.compare.yolo import YoloRuns, with_control
    from afpn_yolo.upstream.train import read_settings

    extra = read_settings(args.set, "--set")
    scales = args.scales or ([] if args.necks else ["n"])
    usual = QUICK_NECKS if args.quick and not args.table else PAPER[args.table or "IV"]
    necks = parse_necks([*map(model_name, args.necks)] or usual, scales)
    if args.control or args.quick:
        necks = with_control(necks, folder)
    if args.quick:
        extra = _shorten(args, extra)
    shared = (args.data, args.epochs or 300, args.imgsz or 640, args.batch or 16, extra)
    return YoloRuns(necks, *shared, _backbones(args, necks), args.device, args.workers)


def _shorten(args: argparse.Namespace, extra: dict[str, Any]) -> dict[str, Any]:
    """Fill in what `--quick` chooses where the user has not; returns the further settings."""
    from torch import cuda

    from afpn_yolo.compare.plan import QUICK_SEEDS, quick_schedule
    from afpn_yolo.upstream.data import images_of

    epochs, fraction = quick_schedule(len(images_of(args.data, "train")))
    if args.epochs is None:
        args.epochs = epochs
        if fraction < 1:
            extra = {"fraction": fraction} | extra
    args.imgsz = args.imgsz or (640 if cuda.is_available() and args.device != "cpu" else 320)
    args.seeds = args.seeds or [*QUICK_SEEDS]
    return extra


def _backbones(args: argparse.Namespace, necks: Sequence[Candidate]) -> dict[str | None, Path]:
    """A file for each scale of the YAMLs, or none."""
    scales = list(dict.fromkeys(neck.scale for neck in necks if not neck.is_checkpoint))
    if args.backbone == [NOTHING]:
        return {}
    if args.backbone:
        if len(args.backbone) != len(scales):
            counts = f"{len(args.backbone)} files for {len(scales)} scales of YAMLs"
            raise ValueError(f"--backbone: {counts}; give one each")
        return dict(zip(scales, args.backbone, strict=True))
    if not args.quick or None in scales:
        return {}
    from afpn_yolo.upstream.loading import find_checkpoint

    try:
        return {scale: find_checkpoint(f"yolov5{scale}u.pt") for scale in scales}
    except ValueError as error:
        raise ValueError(
            f"--quick starts from backbones that know COCO: {error}; name files by --backbone, or "
            "write --backbone none to start from random weights, which takes longer schedules"
        ) from None


def _pareto(args: argparse.Namespace) -> int:
    """Draw, instead of training."""
    from afpn_yolo.base.files import written_whole
    from afpn_yolo.compare.pareto import over_cost

    if not args.necks or any(Path(word).suffix != ".json" for word in args.necks):
        raise ValueError("--pareto takes results of comparisons: afpn compare A.json B.json ...")
    of = (args.pareto, args.part, args.runtime, args.precision)
    figure, missing = over_cost([*map(Path, args.necks)], *of)
    if missing:
        why = f"{', '.join(missing)}: no time in {args.pareto}, so over parameters alone; "
        print(f"{why}measure all necks in one run of afpn benchmark", file=sys.stderr)
    path = args.out / f"{args.name or 'pareto'}.png"
    with written_whole(path) as part:
        figure.savefig(part, format="png")
    print(path)
    return 0
