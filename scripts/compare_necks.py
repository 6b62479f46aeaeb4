"""Train and evaluate necks under equal conditions, and set them side by side.

    python scripts/compare_necks.py --data my.yaml --epochs 100 --seeds 0 1 2

trains PAFPN and AFPN (the paper's Table IV); `--table V` its three fusions; or name any models:

    python scripts/compare_necks.py PAFPN=yolov5nu.pt AFPN=yolov5n-afpn-start.pt --data my.yaml

Results go to OUT/NAME.json, OUT/NAME.md, OUT/NAME-bubbles.png and OUT/NAME-curves.png, after every
run. Stop it whenever you like: the same command goes on where it stopped. Started twice, it shares
the runs between both processes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from afpn_yolo.cli.command import command

SCALES = ("n", "s", "m", "l", "x")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("necks", nargs="*", metavar="[LABEL=]MODEL", help="model YAMLs, or .pt files to fine-tune")
    add("--table", choices=("IV", "V"), help="the paper's table, where no models are named (IV)")
    add("--data", required=True, help="data set, as yolo takes it")
    add("--scales", nargs="+", choices=SCALES, help="scales of the YAMLs (n, for a table)")
    add("--epochs", type=int, default=300, help="epochs of every run (300)")
    add("--imgsz", type=int, default=640, help="image side in pixels (640)")
    add("--batch", type=int, default=16, help="batch size over all GPUs (16)")
    add("--seeds", nargs="+", type=int, default=[0], help="one run each (0)")
    add(
        "--backbone",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a .pt or .npz for each scale: its backbone, and nothing else, starts every YAML",
    )
    add("--device", help="as yolo takes it: cpu, 0, 0,1,2,3 (chosen by Ultralytics)")
    add("--workers", type=int, default=8, help="processes that load data (8)")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="more of Ultralytics' arguments")
    add("--name", help="name of the comparison (the data set's)")
    add("--out", type=Path, default=Path("results"), help="folder of the results (results)")
    add("--runs", type=Path, default=Path("runs/compare"), help="folder of the trainings")
    args = parser.parse_args(argv)
    for option, low in (("epochs", 1), ("imgsz", 1), ("batch", 1), ("workers", 0)):
        if getattr(args, option) < low:
            parser.error(f"--{option} must be at least {low}, got {getattr(args, option)}")
    if args.name and Path(args.name).name != args.name:
        parser.error(f"--name {args.name}: a name, no path; --out is the folder")
    return args


def settings(words: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE as YAML does."""
    import yaml

    result = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"--set {word}: expected KEY=VALUE")
        try:
            result[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"--set {word}: {value} is no YAML") from None
    return result


@command(stopped="stopped; the same command goes on from here")
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    # Here, so that --help needs no torch.
    from afpn_yolo.compare.plan import PAPER, parse_necks
    from afpn_yolo.compare.run import Comparison

    scales = args.scales or ([] if args.necks else ["n"])
    comparison = Comparison(
        necks=parse_necks(args.necks or PAPER[args.table or "IV"], scales),
        seeds=args.seeds,
        data=args.data,
        epochs=args.epochs,
        imgsz=args.imgsz,
        batch=args.batch,
        backbones=args.backbone or [],
        extra=settings(args.set),
        out=args.out,
        folder=args.runs,
        name=args.name or Path(args.data).stem,
    )
    failed = comparison.carry_out(args.device, args.workers)
    print(comparison.table())
    for path in comparison.files():
        print(path)
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
