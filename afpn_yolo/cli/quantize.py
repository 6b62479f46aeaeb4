"""Quantise an exported detector to INT8, by ONNX Runtime's static quantisation.

    yolo export model=best.pt format=onnx
    afpn quantize best.onnx my.yaml
    afpn evaluate best-int8.onnx my.yaml

Some images of the training split show the range of the values. The last convolutions of
the head and the decoding of boxes stay in float: in INT8 they would find nothing. The result opens
wherever the float model does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from afpn_yolo.cli import add_json, add_output, check_least, check_order


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    add = parser.add_argument
    add("model", metavar="MODEL.onnx", type=Path, help="exported by Ultralytics, in float32")
    add("data", metavar="DATA", help="data YAML, or an image, a folder, a pattern in quotes")
    add_output(parser, ".onnx", "MODEL-int8.onnx")
    add("--count", type=int, default=200, help="calibrate on so many images at most (200)")
    add("--split", default="train", help="of a data YAML: train, val or test (train)")
    names = "names of more nodes that stay in float: '/model.9/*'"
    add("--keep", nargs="+", default=[], metavar="PATTERN", help=names)
    narrow = "7-bit weights, for x86 processors without VNNI, where 8 bits overflow"
    add("--reduce-range", action="store_true", help=narrow)
    add("--repeats", type=int, default=50, help="timed calls of each model, in turn; 0: none (50)")
    add("--threads", type=int, default=2, help="for the timing (2)")
    add_json(parser, "sizes and times")


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    check_least(args, count=1, repeats=0, threads=1)
    check_order(args.model, args.data)
    out = args.output or args.model.with_name(f"{args.model.stem}-int8.onnx")
    from afpn_yolo.deploy.quantize import calibration_images, overflows, quantize_detector

    images = calibration_images(args.data, args.split, args.count)
    floats, shape = quantize_detector(args.model, out, images, args.keep, args.reduce_range)
    if overflows() and not args.reduce_range:
        print(
            "warning: this processor has no VNNI, so sums of 8-bit products can overflow on it and "
            "cost accuracy; measure the result by afpn evaluate, or quantise with --reduce-range",
            file=sys.stderr,
        )
    size, before = out.stat().st_size, args.model.stat().st_size
    pinned = ", and those of --keep" if args.keep else ""
    print(f"{out}: calibrated on {len(images)} images")
    print(f"in float: {len(floats)} nodes, the head's end and its decoding{pinned}")
    print(f"{size / 1e6:.2f} MB, {size / before:.2f} of the float model")
    times = speed([args.model, out], shape, args.repeats, args.threads) if args.repeats else {}
    if args.json:
        figures = {"bytes": size, "float_bytes": before, "float_nodes": floats, "times": times}
        args.json.write({"model": str(out), "images": len(images), **figures})
    return 0


def speed(
    paths: list[Path], shape: tuple[int, ...], repeats: int, threads: int
) -> dict[str, dict[str, float]]:
    """Time the float and the INT8 model, their calls in turn, and print what came out."""
    from afpn_yolo.deploy.machine import is_unsteady, load, warnings
    from afpn_yolo.deploy.timing import summary
    from afpn_yolo.deploy.worker import work

    others = load()
    models = [{"path": str(path), "shapes": [shape]} for path in paths]
    job = {"runtime": "onnxruntime", "threads": threads, "runs": repeats, "warmup": 10}
    first, second = work({**job, "models": models})["times"]
    times = {"float": summary(first, first), "INT8": summary(second, first)}
    for name, figures in times.items():
        spread = "{median_ms:.2f} ms ({p10_ms:.2f}-{p90_ms:.2f})".format(**figures)
        print(f"{name:6}{spread}, {figures['ratio_to_baseline']:.2f} of float")
    for sentence in warnings([is_unsteady(times["INT8"])], others, threads):
        print(f"warning: {sentence}", file=sys.stderr)
    return times
