"""Quantise an exported detector to 8-bit integers, by ONNX Runtime's static quantisation.

    yolo export model=best.pt format=onnx
    python scripts/quantize.py best.onnx my.yaml
    python scripts/evaluate.py best-int8.onnx my.yaml --imgsz 640

Some of your own images, of the training split, show which values occur. The last convolutions of
the head and the decoding of boxes stay in float: in 8 bits they would find nothing. The result
opens wherever the float model does.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from afpn_yolo.cli.command import command


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", metavar="MODEL.onnx", type=Path, help="exported by Ultralytics, in float32")
    add("data", metavar="DATA", help="data YAML, or an image, a folder, a pattern in quotes")
    add("--out", type=Path, metavar="FILE.onnx", help="file to write (MODEL-int8.onnx)")
    add("--images", type=int, default=200, help="look at so many images at most (200)")
    add("--split", default="train", help="of a data YAML: train, val or test (train)")
    add(
        "--keep",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="names of more nodes that stay in float: '/model.9/*'",
    )
    add(
        "--reduce-range",
        action="store_true",
        help="7-bit weights, for x86 processors without VNNI, where 8 bits overflow",
    )
    add("--runs", type=int, default=50, help="timed calls of each model, in turn; 0: none (50)")
    add("--threads", type=int, default=2, help="for the timing (2)")
    args = parser.parse_args(argv)
    for name, least in (("images", 1), ("runs", 0), ("threads", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name} must be at least {least}, got {getattr(args, name)}")
    args.out = args.out or args.model.with_name(f"{args.model.stem}-int8.onnx")
    if args.out.suffix != ".onnx":
        parser.error(f"--out {args.out}: the name must end in .onnx")
    return args


def speed(args: argparse.Namespace, shape: tuple[int, ...]) -> str:
    """Both models' times, their calls in turn."""
    from afpn_yolo.bench.timing import summary
    from afpn_yolo.bench.worker import work

    models = [{"path": str(path), "shapes": [shape]} for path in (args.model, args.out)]
    job = {"runtime": "onnxruntime", "threads": args.threads, "runs": args.runs, "warmup": 10}
    before, after = work({**job, "models": models})["times"]
    lines = []
    for name, times in (("float", before), ("int8", after)):
        figures = summary(times, before)
        spread = "{median_ms:.2f} ms ({p10_ms:.2f}-{p90_ms:.2f})".format(**figures)
        lines.append(f"{name:6}{spread}, {figures['ratio_to_pafpn']:.2f} of float")
    return "\n".join(lines)


@command()
def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    # Here, so that --help needs no torch.
    try:
        from afpn_yolo.quantize.detector import quantize_detector
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install {error.name}") from error
    result = quantize_detector(
        args.model, args.out, args.data, args.split, args.images, args.keep, args.reduce_range
    )
    kept = result.kept
    print(f"{args.out}: calibrated on {result.images} images")
    more = f", and {len(kept.asked)} that you asked for" if kept.asked else ""
    print(f"in float: {len(kept.decoding)} nodes of the head's end and its decoding{more}")
    print(f"{result.size / 1e6:.2f} MB, {result.size / result.before:.2f} of the float model")
    if args.runs:
        print(speed(args, result.shape))
    return 0


if __name__ == "__main__":
    sys.exit(main())
