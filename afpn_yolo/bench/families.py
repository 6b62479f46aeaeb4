"""What AFPN's necks take in each family of models, beside the stock neck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from afpn_yolo.graft import grafted_name
from afpn_yolo.upstream.cost import feature_shapes, gflops
from afpn_yolo.upstream.models import empty_model
from afpn_yolo.upstream.neck import NeckModule
from afpn_yolo.upstream.rows import head_sources

FAMILIES = (
    *("yolov5n", "yolov5n-p6", "yolov6n", "yolov8n", "yolov8s", "yolov8n-p2", "yolov8n-p6"),
    *("yolov9t", "yolov9s", "yolov9m", "yolov9c", "yolov10n", "yolo11n", "yolo11s", "yolo12n"),
    *("yolo26n", "yolo26s", "yolo26n-p2", "yolo26n-p6"),
)
"""One model of each neck; those for other tasks than detection have the same."""

SIDE = 640


@dataclass(frozen=True)
class Cost:
    """Parameters, and 10^9 operations at 640 x 640 pixels."""

    parameters: int
    gflops: float


def table(names: Sequence[str] = FAMILIES) -> Iterator[str]:
    """Lines of a Markdown table: levels, cost of the stock neck, and of AFPN's as shares of it."""
    yield "| model | levels | stock neck: parameters | GFLOPs | AFPN | AFPN-lite |"
    yield "| --- | --- | ---: | ---: | --- | --- |"
    for name in names:
        stock, levels = _cost(f"{name}.yaml")
        cells = [name, levels, f"{stock.parameters:,}", f"{stock.gflops:.2f}"]
        for neck in ("afpn", "lite"):
            ours, _ = _cost(grafted_name(name, neck))
            cells.append(
                f"{ours.parameters:,} ({ours.parameters / stock.parameters:.2f}), "
                f"{ours.gflops:.2f} ({ours.gflops / stock.gflops:.2f})"
            )
        yield f"| {' | '.join(cells)} |"


def _cost(yaml: str) -> tuple[Cost, str]:
    """Of the neck of a model, and the levels that its head reads."""
    model: Any = empty_model(yaml)
    neck = NeckModule(model)
    count = sum(p.numel() for p in neck.parameters())
    strides = [int(stride).bit_length() - 1 for stride in model.stride]
    assert len(strides) == len(head_sources(model))
    levels = f"P{strides[0]}-P{strides[-1]}"
    return Cost(count, gflops(neck, feature_shapes(model, 1, SIDE))), levels
