"""What a training is reported as."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from afpn_yolo.evaluation.coco import COLUMNS
from afpn_yolo.twostage.counts import count
from afpn_yolo.twostage.logger import TABLE
from afpn_yolo.twostage.plan import Plan
from afpn_yolo.twostage.provenance import versions
from afpn_yolo.twostage.train import BEST, SERVER, Outcome


def figures(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """Plain values: metrics of the last epoch, the curve, counts, conditions and versions."""
    counts = count(plan.design, len(outcome.names) + 1)
    return {
        **{key: outcome.metrics.get(key) for key in COLUMNS},
        "per_class": outcome.metrics.get("per_class"),
        "curve": [line["AP"] for line in outcome.lines],
        "seconds": round(sum(line["seconds"] or 0 for line in outcome.lines), 1),
        "parameters": counts.parameters,
        "gmacs": round(counts.gmacs, 2),
        "checkpoint": str(outcome.last),
        "conditions": plan.as_dict(),
        "versions": {"python": platform.python_version(), **versions()},
        **outcome.made,
    }


def table(told: dict[str, Any]) -> str:
    """A line of headings and one of figures, in percent; below them the files of the training."""
    heads = "".join(f"{key:>7}" for key in COLUMNS)
    values = "".join(_percent(told[key]) for key in COLUMNS)
    return "\n".join((heads, values, *_files(Path(told["checkpoint"]), told["curve"])))


def _files(last: Path, curve: list[float | None]) -> Iterator[str]:
    yield str(last)
    scores = [score or 0.0 for score in curve]
    best = max((score, epoch) for epoch, score in enumerate(scores, 1))[1]  # of equals the last
    for name, remark in ((BEST, f" (epoch {best} of {len(scores)})"), (TABLE, ""), (SERVER, "")):
        path = last.with_name(name)
        if path.exists():
            yield f"{path}{remark}"


def _percent(value: float | None) -> str:
    return f"{'-':>7}" if value is None else f"{100 * value:7.1f}"
