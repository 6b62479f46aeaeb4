"""AP over milliseconds and over parameters: what accuracy costs, from kept results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from afpn_yolo.base.errors import quoted
from afpn_yolo.compare.figures import BESIDE
from afpn_yolo.compare.plan import Candidate
from afpn_yolo.compare.table import Row, rows
from afpn_yolo.plots.palette import COLOURS, INK, MARKERS, new_figure


def pareto(
    results: Sequence[Path],
    benchmark: Path,
    part: str = "model",
    runtime: str = "onnxruntime",
    precision: str = "fp32",
) -> Figure:
    """Draw a point for every neck and scale of comparisons that a benchmark has timed, too.

    Bars: standard deviation of AP over seeds, 10th to 90th percentile of the milliseconds. A line
    joins the points of each comparison than which none is both better and cheaper.

    Args:
        results: JSON files of comparisons, a marker each.
        benchmark: JSON file of `afpn benchmark`; necks are matched by label and scale.
        part, runtime, precision: Which of its rows count, as `afpn benchmark` names them; of these
            the first size and batch.

    Raises:
        OSError: When a file is missing.
        ValueError: When one is of another kind, or no neck is in both.
    """
    times = _times(benchmark, (part, runtime, precision))
    how = f"{part}, {runtime} {precision}"
    figure, (by_time, by_size) = new_figure(f"AP over cost ({how})", 2, 12)
    labels: dict[str, str] = {}
    drawn = 0
    for number, path in enumerate(results):
        table = read_table(path)
        for row in table:
            labels.setdefault(row.neck.label, COLOURS[len(labels) % len(COLOURS)])
        timed = [row for row in table if (row.neck.label, row.neck.scale) in times]
        drawn += len(timed)
        marker = MARKERS[number % len(MARKERS)]
        spans = [times[row.neck.label, row.neck.scale] for row in timed]
        _points(by_time, timed, spans, labels, marker)
        millions = [(row.parameters / 1e6,) * 3 for row in table]
        _points(by_size, table, millions, labels, marker)
        by_size.plot([], [], marker, color=INK, label=path.stem)
    for label, colour in labels.items():
        by_size.plot([], [], "-", linewidth=4, color=colour, label=label)
    if not drawn:
        raise ValueError(
            f"{benchmark} has no {how} of any neck in {', '.join(map(str, results))}; labels and "
            f"scales must be the same; it has {', '.join(sorted({f'{a}-{b}' for a, b in times}))}"
        )
    for axes in (by_time, by_size):
        axes.margins(x=0.15, y=0.12)
    by_time.set_xlabel("milliseconds an image (bars: 10th to 90th percentile)")
    by_size.set_xlabel("parameters of the whole model, millions")
    by_time.set_ylabel("AP (bars: standard deviation over seeds)")
    by_size.legend(**BESIDE)
    return figure


def untimed(
    results: Sequence[Path], benchmark: Path, part: str, runtime: str, precision: str
) -> str | None:
    """The sentence about what a benchmark has not timed, and the command that would.

    That measures all: times of two benchmarks don't compare. None where nothing is missing.
    """
    times = _times(benchmark, (part, runtime, precision))
    necks = [row.neck for path in results for row in read_table(path)]
    if not (gone := [neck for neck in necks if (neck.label, neck.scale) not in times]):
        return None
    scales = [*dict.fromkeys(neck.scale for neck in necks if neck.scale)]
    like = [neck for neck in necks if bool(neck.scale) == bool(scales)]  # a name has its scale
    models = {neck.label: quoted(f"{neck.label}={neck.model}") for neck in like}
    return (
        f"{', '.join(dict.fromkeys(neck.name for neck in gone))}: no time in {benchmark}, so over "
        f"parameters alone; afpn benchmark --models {' '.join(models.values())} "
        f"{' '.join(['--scales', *scales, ''] if scales else [])}--parts {part} "
        f"--runtimes {runtime} --precisions {precision} --json other.json measures all"
    )


def read_table(path: Path) -> list[Row]:
    """The rows of a comparison's JSON, whenever it was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        runs = {run["run"]: run for run in content["runs"]}
        return rows(list(dict.fromkeys(Candidate.read(run) for run in runs.values())), runs)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no result of a comparison: {error}") from None


def _times(
    path: Path, wanted: tuple[str, str, str]
) -> dict[tuple[str, Any], tuple[float, float, float]]:
    """Median, 10th and 90th percentile of one image's milliseconds by label and scale."""
    found: dict[tuple[str, Any], tuple[float, float, float]] = {}
    try:
        for row in json.loads(path.read_text(encoding="utf-8")):
            if (row["part"], row["runtime"], row["precision"]) == wanted:
                low, middle, high = (
                    row[key] / row["batch"] for key in ("p10_ms", "median_ms", "p90_ms")
                )
                found.setdefault((row["neck"], row["scale"]), (middle, low, high))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no result of a benchmark: {error}") from None
    return found


def _points(
    axes: Axes,
    table: Sequence[Row],
    costs: Sequence[tuple[float, float, float]],
    labels: dict[str, str],
    marker: str,
) -> None:
    points = []
    for row, (middle, low, high) in zip(table, costs, strict=True):
        if spread := row.metrics["AP"]:
            ap, colour = 100 * spread.mean, labels[row.neck.label]
            points.append((middle, ap))
            axes.errorbar(
                middle,
                ap,
                yerr=spread.bar,
                xerr=[[middle - low], [high - middle]] if high > low else None,
                fmt=marker,
                color=colour,
                capsize=3,
                markersize=7,
            )
            axes.annotate(
                row.neck.scale or "",  # a colour is that of a label, at whatever scale
                (middle, ap),
                (6, 6),
                textcoords="offset points",
                fontsize=9,
                color=INK,
            )
    edge = front(points)
    axes.plot([x for x, _ in edge], [y for _, y in edge], ":", color=INK, alpha=0.5, zorder=0)


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those (cost, AP) than which none is both cheaper and better, from the cheapest on."""
    best: list[tuple[float, float]] = []
    for cost, ap in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or ap > best[-1][1]:
            best.append((cost, ap))
    return best
