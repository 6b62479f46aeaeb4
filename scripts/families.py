"""Write the table of docs/families.md: what AFPN's necks take in each family of models.

    python scripts/families.py --json results/families.json
    python scripts/families.py yolo11n.yaml mine.yaml
    python scripts/families.py --time    # milliseconds in ONNX Runtime, too; some minutes

Ratios are to the stock neck, or the stock model for milliseconds; those above 1 are bold.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import nn

from afpn_yolo.base import markdown_table
from afpn_yolo.compare.plan import Candidate
from afpn_yolo.deploy.cases import Case
from afpn_yolo.graft import graft, grafted_name
from afpn_yolo.graft.shapes import laid_out
from afpn_yolo.upstream.log import quiet
from afpn_yolo.upstream.models import read_model_yaml
from afpn_yolo.upstream.neck import NeckModule, feature_shapes, gflops

FAMILIES = (
    *("yolov5n", "yolov5n-p6", "yolov6n", "yolov8n", "yolov8s", "yolov8n-p2", "yolov8n-p6"),
    *("yolov8n-ghost", "yolov8n-ghost-p2", "yolov8n-ghost-p6", "yolov9t", "yolov9s", "yolov9m"),
    *("yolov9c", "yolov10n", "yolo11n", "yolo11s", "yolo12n", "yolo26n", "yolo26s", "yolo26n-p2"),
    "yolo26n-p6",
)
"""One model of each neck."""

NECKS = ("afpn", "lite")
SIDE = 640  # of the image, for operations and times
HEAD = ["model", "stock neck: parameters", "GFLOPs", "AFPN", "AFPN-lite"]
TIMED = ["stock model, ms", "with AFPN", "with AFPN-lite"]


class Cost(TypedDict):
    """What a neck takes: parameters, and GFLOPs of one image, unfused."""

    parameters: int
    gflops: float


def cost(content: Mapping[str, Any]) -> Cost:
    """Cost of the neck of a model YAML, at the scale that it names."""
    with quiet():  # or a line for each neck says that it names none, in the middle of the table
        model: Any = nn.Module()
        model.model, model.yaml = laid_out(content), dict(content)
    neck = NeckModule(model)
    with torch.inference_mode():
        operations = gflops(neck, feature_shapes(model, 1, SIDE))
    return {
        "parameters": sum(p.numel() for p in neck.parameters()),
        "gflops": round(operations, 4),
    }


def milliseconds(name: str) -> dict[str, float]:
    """Of the stock model and its grafts: medians of 25 calls in turn, 2 threads, batch 1."""
    from afpn_yolo.deploy.measure import Benchmark

    stem = Path(name).stem
    models = {"stock": name, **{neck: grafted_name(stem, neck) for neck in NECKS}}
    group = tuple(Candidate(label, model) for label, model in models.items())
    case = Case(group, "model", "onnxruntime", "fp32", SIDE, 1)
    ((_, rows),) = Benchmark(25, 5, 2).measure([case])
    return {row["neck"]: row["median_ms"] for row in rows}


def share(ratio: float) -> str:
    """A ratio as it stands in the table."""
    return f"**{ratio:.2f}**" if ratio > 1 else f"{ratio:.2f}"


def cells(name: str, costs: Mapping[str, Cost], times: Mapping[str, float]) -> list[str]:
    """A line of the table."""
    stock = costs["stock"]
    line = [Path(name).stem, f"{stock['parameters']:,}", f"{stock['gflops']:.2f}"]
    for neck in NECKS:
        own = costs[neck]
        if stock["parameters"] and stock["gflops"]:
            ratios = own["parameters"] / stock["parameters"], own["gflops"] / stock["gflops"]
            line.append(" / ".join(map(share, ratios)))
        else:
            line.append("-")  # no stock neck to compare with
    if times:
        line += [f"{times['stock']:.1f}", *(share(times[n] / times["stock"]) for n in NECKS)]
    return line


def main(words: Sequence[str] | None = None) -> int:
    """Print the table, and write its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=[f"{name}.yaml" for name in FAMILIES])
    parser.add_argument("--time", action="store_true", help="take the times, too")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args(words)
    rows, lines = [], []
    for name in args.models:
        stock = read_model_yaml(name)
        costs = {"stock": cost(stock)} | {n: cost(graft(stock, n).content) for n in NECKS}
        times = milliseconds(name) if args.time else {}
        rows.append({"model": Path(name).stem, "necks": costs, "milliseconds": times})
        lines.append(cells(name, costs, times))
        print(f"{len(rows)} of {len(args.models)}", file=sys.stderr)
    print("\n".join(markdown_table([*HEAD, *(TIMED if args.time else [])], lines)))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
