"""List the models that can be built by name: families, tasks, necks, parameters and GFLOPs.

    afpn models
    afpn models yolo11 yolo26 --scale s

A name is family, neck and task: `yolo train model=yolo11n-afpn-lite-seg.yaml data=my.yaml`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from afpn_yolo.cli import SCALES, add_json

TASKS = {"seg": "segment", "pose": "pose", "obb": "obb", "depth": "depth"}
NECKS = ("stock", "afpn", "lite")
ABOUT = """
Whole models for detection, 80 classes: millions of parameters, and GFLOPs at 640 x 640 pixels,
not fused. More necks: afpn-hybrid (to start from a checkpoint), afpn-lite-sum (without softmax),
afpn-sum and afpn-concat (in place of AFPN's ASFF), none (a control)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `afpn_yolo.cli`."""
    parser.add_argument("families", nargs="*", help="only these: yolov8, yolo11 (all)")
    parser.add_argument("--scale", choices=SCALES, default="n", help="scale (n)")
    add_json(parser, "the table")


def run(args: argparse.Namespace) -> int:
    """See `afpn_yolo.cli`."""
    rows = []
    print(f"{'model':18}{'tasks':36}{'stock neck':>17}{'afpn':>17}{'afpn-lite':>17}")
    for row in listed(args.families, args.scale):
        costs = [row[neck] for neck in NECKS]
        cells = "".join("{:9.2f} M{gflops:6.1f}".format(c["parameters"] / 1e6, **c) for c in costs)
        print(f"{row['model']:18}{', '.join(row['tasks']):36}{cells}", flush=True)
        rows.append(row)
    if not rows:
        raise ValueError(f"no model of {', '.join(args.families)} at scale {args.scale}")
    print(ABOUT)
    if args.json:
        args.json.write(rows)
    return 0


def listed(families: list[str], scale: str) -> Iterator[dict[str, Any]]:
    """Each family that a neck can be put into: `model`, `tasks`, and the costs by neck."""
    from afpn_yolo.graft import graft
    from afpn_yolo.graft.shapes import cost
    from afpn_yolo.plugin.lookup import unscaled
    from afpn_yolo.plugin.register import stock_models
    from afpn_yolo.upstream.models import read_model_yaml

    tasks: dict[str, list[str]] = {}
    for stem in stock_models():
        family, *words = stem.split("-")
        task = next((TASKS[word] for word in words if word in TASKS), "detect")
        name = "-".join([family, *(word for word in words if word not in TASKS)])
        if not families or family in families or unscaled(family) in families:
            tasks.setdefault(name, []).append(task)
    for name, known in tasks.items():
        try:
            content = read_model_yaml(f"{name}.yaml")
            if content.get("scales"):
                content = read_model_yaml(f"{name}.yaml", scale)
            contents = {neck: graft(content, neck).content for neck in NECKS[1:]}
        except (OSError, ValueError):  # no such scale, or no neck to replace
            continue
        costs = {neck: asdict(cost(each)) for neck, each in {"stock": content, **contents}.items()}
        model = Path(content["yaml_file"]).stem
        yield {"model": model, "tasks": sorted(known), **costs}
