"""AP over milliseconds and over parameters: what accuracy costs, from finished results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from afpn_yolo.compare.plan import Candidate
from afpn_yolo.compare.results import read_comparison
from afpn_yolo.compare.table import rows
from afpn_yolo.evaluation.records import Row
from afpn_yolo.plots.charts import Cost, pareto

Times = dict[tuple[str, str | None], Cost]


def over_cost(
    results: Sequence[Path],
    benchmark: Path,
    part: str = "model",
    runtime: str = "onnxruntime",
    precision: str = "fp32",
) -> tuple[Figure, list[str]]:
    """Draw every neck and scale of comparisons' JSON files over its time and its parameters.

    Args:
        results: The comparisons.
        benchmark: JSON file of `afpn benchmark`; necks are matched by label and scale. Of its rows
            those of the part, runtime and precision count, at the first size and batch.

    Returns:
        The figure, and the necks that were not timed.

    Raises:
        OSError: When a file is missing.
        ValueError: When one is of another kind, or no neck is in both.
    """
    what = f"{part}, {runtime} {precision}"
    times = read_times(benchmark, (part, runtime, precision))
    tables = {path.stem: read_table(path) for path in results}
    necks = {r.name: (r.label, r.scale) in times for table in tables.values() for r in table}
    if not any(necks.values()):
        raise ValueError(
            f"{benchmark} has no {what} of any neck in {', '.join(map(str, results))}; labels and "
            f"scales must be the same; it has {', '.join(sorted({f'{a}-{b}' for a, b in times}))}"
        )
    return pareto(tables, times, what), [name for name, timed in necks.items() if not timed]


def read_table(path: Path) -> list[Row]:
    """The rows of a comparison's JSON, in the order of their first runs."""
    records = {record["run"]: record for record in read_comparison(path)["runs"]}
    necks = (Candidate(run["label"], run["model"], run["scale"]) for run in records.values())
    return rows(necks, records)


def read_times(path: Path, wanted: tuple[str, str, str]) -> Times:
    """Median, 10th and 90th percentile of one image's milliseconds by label and scale."""
    times: Times = {}
    try:
        for row in json.loads(path.read_text(encoding="utf-8")):
            if (row["part"], row["runtime"], row["precision"]) == wanted:
                one: Any = [row[key] / row["batch"] for key in ("median_ms", "p10_ms", "p90_ms")]
                times.setdefault((row["neck"], row["scale"]), tuple(one))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no result of a benchmark: {error}") from None
    return times
