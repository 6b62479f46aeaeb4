"""What AFPN's necks take in each family of models, beside the stock neck; their exports, times."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from afpn_yolo.base.markdown import table as markdown_table
from afpn_yolo.compare.plan import Candidate
from afpn_yolo.deploy.cases import PARTS, Case
from afpn_yolo.graft import graft, grafted_name
from afpn_yolo.graft.shapes import Cost
from afpn_yolo.upstream.log import quiet
from afpn_yolo.upstream.models import laid_out
from afpn_yolo.upstream.neck import NeckModule, feature_shapes, gflops
from afpn_yolo.upstream.scales import read_model_yaml

if TYPE_CHECKING:
    from afpn_yolo.deploy.measure import Benchmark  # it needs ONNX Runtime

FAMILIES = (
    *("yolov5n", "yolov5n-p6", "yolov6n", "yolov8n", "yolov8s", "yolov8n-p2", "yolov8n-p6"),
    *("yolov8n-ghost", "yolov8n-ghost-p2", "yolov8n-ghost-p6", "yolov9t", "yolov9s", "yolov9m"),
    *("yolov9c", "yolov10n", "yolo11n", "yolo11s", "yolo12n", "yolo26n", "yolo26s", "yolo26n-p2"),
    "yolo26n-p6",
)
"""One model of each neck."""

TASKS = tuple(
    f"{family}-{task}"
    for family in ("yolov8n", "yolo11n", "yolo12n", "yolo26n")
    for task in ("seg", "pose", "obb")
)
"""Models for other tasks than detection, which have the necks of their family's detector."""

NECKS = ("afpn", "lite")
SIDE, SMALL = 640, 128
"""Of the image: for operations and times, for the comparison with ONNX."""


@dataclass(frozen=True)
class Family:
    """A row of the table.

    Attributes:
        levels: That the head reads: `P3-P5`, `P3` where it is one.
        stock: The stock neck's cost at 640 x 640 pixels; zeros where there is none.
        necks: Those of `NECKS`.
        onnx_difference: Of each whole model, see `onnx_difference`; empty without exports.
        milliseconds: In ONNX Runtime: of `neck` and `model`, those of `stock` and of `NECKS`; empty
            where no time was taken.
    """

    model: str
    levels: str
    stock: Cost
    necks: dict[str, Cost]
    onnx_difference: dict[str, float]
    milliseconds: dict[str, dict[str, float]]

    def overruns(self) -> list[str]:
        """In words, where a neck takes more than the stock one."""
        return [
            f"{grafted_name(self.model, neck)}: {ratio:.2f} of the stock neck's {what}"
            for neck, cost in self.necks.items()
            for what, ratio in self.ratios(cost).items()
            if ratio > 1
        ]

    def ratios(self, cost: Cost) -> dict[str, float]:
        """Of a neck to the stock one, as far as that one takes anything."""
        figures = (
            ("parameters", cost.parameters, self.stock.parameters),
            ("GFLOPs", cost.gflops, self.stock.gflops),
        )
        return {what: ours / stock for what, ours, stock in figures if stock}


def families(
    names: Iterable[str], export: bool = False, benchmark: Benchmark | None = None
) -> Iterator[Family]:
    """Measure the necks of models.

    Args:
        names: Of stock models' YAMLs; of files as well where no more than the cost is asked for.
        export: Export each grafted model to ONNX, too, and run it beside PyTorch.
        benchmark: What takes the times, see `timed_cases`; None: nobody.

    Raises:
        BenchmarkError: When an export or a run fails.
    """
    for name in names:
        stock, stem = read_model_yaml(name), Path(name).stem
        yield Family(
            stem,
            *cost(stock),
            {neck: cost(graft(stock, neck).content)[1] for neck in NECKS},
            {neck: _exported(grafted_name(stem, neck)) for neck in NECKS if export},
            _milliseconds(benchmark, timed_cases(name)) if benchmark else {},
        )


def timed_cases(name: str) -> list[Case]:
    """What of a model is timed: its neck and the whole of it, beside the grafts, at batch 1."""
    models = {"stock": name, **{neck: grafted_name(Path(name).stem, neck) for neck in NECKS}}
    group = tuple(Candidate(label, model) for label, model in models.items())
    return [Case(group, part, "onnxruntime", "fp32", SIDE, 1) for part in PARTS]


def _milliseconds(benchmark: Benchmark, cases: list[Case]) -> dict[str, dict[str, float]]:
    """By part and neck; medians of calls that took turns."""
    return {
        case.part: {row["neck"]: row["median_ms"] for row in rows}
        for case, rows in benchmark.measure(cases)
    }


def cost(content: Mapping[str, Any]) -> tuple[str, Cost]:
    """The levels of a model YAML, at the scale that it names, and what its neck takes."""
    with quiet():  # or a line for each neck says that it names none, in the middle of the table
        model = laid_out(content)
    neck = NeckModule(model)
    shapes = feature_shapes(model, 1, SIDE)
    with torch.inference_mode():
        outputs = neck(*(torch.empty(shape, device="meta") for shape in shapes))
    first, *others = sorted((SIDE // x.shape[-1]).bit_length() - 1 for x in outputs)
    levels = "-".join(f"P{number}" for number in (first, *others[-1:]))
    count = sum(p.numel() for p in neck.parameters())
    return levels, Cost(count, round(gflops(neck, shapes), 4))


def _exported(yaml: str) -> float:
    from afpn_yolo.upstream.export import onnx_difference  # it needs ONNX Runtime, too

    with tempfile.TemporaryDirectory(prefix="afpn-families-") as folder, quiet():
        return onnx_difference(yaml, Path(folder), SMALL)


def table(rows: Iterable[Family], timed: bool = False) -> Iterator[str]:
    """Lines of a Markdown table; what is more than the stock neck's is bold."""
    head = ["model", "levels", "stock neck: parameters", "GFLOPs", "AFPN", "AFPN-lite", "ONNX"]
    head += ["neck, ms", "model, ms"] if timed else []
    lines = (_cells(row) for row in rows)
    return markdown_table(head, (line + ["-"] * (len(head) - len(line)) for line in lines), texts=2)


def _cells(row: Family) -> list[str]:
    cells = [row.model, row.levels, f"{row.stock.parameters:,}", f"{row.stock.gflops:.2f}"]
    for taken in row.necks.values():
        shares = {what: f" ({_share(ratio)})" for what, ratio in row.ratios(taken).items()}
        a, b = (shares.get(what, "") for what in ("parameters", "GFLOPs"))
        cells.append(f"{taken.parameters:,}{a}, {taken.gflops:.2f}{b}")
    cells.append(", ".join(f"{x:.0e}" for x in row.onnx_difference.values()) or "-")
    for stock, *ours in (times.values() for times in row.milliseconds.values()):
        cells.append(", ".join([f"{stock:.1f}", *(f"{x:.1f} ({_share(x / stock)})" for x in ours)]))
    return cells


def _share(ratio: float) -> str:
    return f"**{ratio:.2f}**" if ratio > 1 else f"{ratio:.2f}"
