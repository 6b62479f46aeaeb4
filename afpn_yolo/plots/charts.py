"""Charts of comparisons and of benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from itertools import cycle
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from afpn_yolo.evaluation.coco import Column
from afpn_yolo.evaluation.records import Row

COLOURS = (
    *("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE"),
    *("#AA3377", "#BBBBBB", "#EE7733", "#222222", "#009988"),
)
"""One for each neck; readers with colour blindness can tell them apart."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
INK = "#1f2328"
"""Of lines and letters; `svg` replaces it by the page's own colour."""

STYLE: Any = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color", "legend.labelcolor"), INK),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("axes.titlesize", "figure.titlesize"), 11),
    **{"axes.grid": True, "grid.alpha": 0.3, "errorbar.capsize": 3, "legend.fontsize": 9},
    **{"figure.figsize": (7, 4.5), "figure.dpi": 150, "figure.constrained_layout.use": True},
}
"""Matplotlib's settings for all charts."""

LARGEST = 1500  # area of the largest bubble, in points squared
LEAST_SPAN = 5.0  # points of AP on an axis: differences of a tenth would look large else
GAP = 0.3  # between the groups of bars, in widths of a group

SIZES: dict[Column, str] = {"APS": "small", "APM": "medium", "APL": "large"}
AP_LABEL = "AP (bars: standard deviation over seeds)"
# Of a legend right of the axes: names beside points would cover one another where necks are alike.
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
Cost = tuple[float, float, float]
"""Median, low and high end of what a model costs."""


def _chart(title: str, ap_label: str) -> tuple[Figure, Axes]:
    figure = Figure()  # without pyplot: no display, no state shared with the caller's figures
    axes = figure.subplots()
    axes.set_title(title)
    axes.set_ylabel(ap_label)
    return figure, axes


@rc_context(STYLE)
def bubbles(table: Sequence[Row]) -> Figure:
    """AP over parameters, one bubble a neck, its area in proportion to GFLOPs (figure 1)."""
    figure, axes = _chart("AP over parameters; bubble area: GFLOPs", AP_LABEL)
    most = max(row.gflops for row in table)
    colours = _styles((row.label for row in table), COLOURS)
    markers = _styles((row.scale for row in table), MARKERS)
    for row in table:
        if not (spread := row.metrics["AP"]):
            continue
        x, y, colour = row.parameters / 1e6, 100 * spread.mean, colours[row.label]
        area = LARGEST * row.gflops / most
        axes.scatter(x, y, s=area, color=colour, alpha=0.45, edgecolors=colour)
        label = f"{row.name}: {row.gflops:.2f} GFLOPs"
        axes.errorbar(x, y, spread.bar, color=colour, fmt=markers[row.scale], label=label)
    axes.legend(**BESIDE)
    axes.margins(x=0.2, y=0.25)
    _span_at_least(axes)
    axes.set_xlabel("parameters, millions")
    return figure


@rc_context(STYLE)
def curves(table: Sequence[Row]) -> Figure:
    """AP after each epoch: the mean of the seeds, and a band from the lowest to the highest."""
    title = "AP over epochs, mean and range over seeds"
    figure, axes = _chart(title, "AP (validation during training)")
    colours = _styles((row.label for row in table), COLOURS)
    styles = _styles((row.scale for row in table), LINES)
    for row in table:
        epochs, colour = range(1, len(row.curve) + 1), colours[row.label]
        mean, low, high = ([100 * v for v in line] for line in (row.curve, row.low, row.high))
        label = f"{row.name} ({len(row.seeds)} seed{'s' * (len(row.seeds) > 1)})"
        axes.plot(epochs, mean, styles[row.scale], color=colour, label=label)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, max(axes.get_ylim()[1], LEAST_SPAN))
    axes.legend(loc="lower right")
    return figure


@rc_context(STYLE)
def sizes(table: Sequence[Row]) -> Figure:
    """AP of small, medium and large objects; a size of which there is none has no point."""
    figure, axes = _chart("AP by the size of objects", AP_LABEL)
    colours = _styles((row.label for row in table), COLOURS)
    for number, (row, marker) in enumerate(zip(table, cycle(MARKERS), strict=False)):
        shift = (number - (len(table) - 1) / 2) * 0.7 / len(table)
        places = [place + shift for place in range(len(SIZES))]
        spreads = [row.metrics[key] for key in SIZES]
        y = [100 * spread.mean if spread else nan for spread in spreads]
        whiskers = [spread.bar or 0 if spread else nan for spread in spreads]
        colour = colours[row.label]
        axes.errorbar(places, y, whiskers, fmt=marker, color=colour, label=row.name)
    axes.set_xticks(range(len(SIZES)), [*SIZES.values()])
    axes.set_xlim(-0.5, len(SIZES) - 0.5)
    axes.set_ylim(0, max(axes.get_ylim()[1], LEAST_SPAN))
    axes.legend()
    return figure


@rc_context(STYLE)
def pareto(
    tables: Mapping[str, Sequence[Row]],
    times: Mapping[tuple[str, str | None], Cost],
    what: str,
) -> Figure:
    """AP over milliseconds and over parameters, a point for every row.

    A line joins the points of each comparison than which none is both better and cheaper.

    Args:
        tables: Rows by the comparison's name, a marker each.
        times: Milliseconds of an image by label and scale, where they were measured.
        what: Which times these are, for the title.
    """
    figure = Figure(figsize=(12, 4.5))
    by_time, by_size = figure.subplots(1, 2)
    figure.suptitle(f"AP over cost ({what})")
    colours = _styles((row.label for table in tables.values() for row in table), COLOURS)
    for (name, table), marker in zip(tables.items(), cycle(MARKERS), strict=False):
        timed = ((row, times.get((row.label, row.scale))) for row in table)
        _points(by_time, timed, colours, marker)
        _points(by_size, ((row, (row.parameters / 1e6,) * 3) for row in table), colours, marker)
        by_size.plot([], [], marker, color=INK, label=name)
    for label, colour in colours.items():
        by_size.plot([], [], "-", linewidth=4, color=colour, label=label)
    for axes in (by_time, by_size):
        axes.margins(x=0.15, y=0.12)
        _span_at_least(axes)
    by_time.set_xlabel("milliseconds an image (bars: 10th to 90th percentile)")
    by_size.set_xlabel("parameters of the whole model, millions")
    by_time.set_ylabel(AP_LABEL)
    by_size.legend(**BESIDE)
    return figure


def _points(
    axes: Axes, rows: Iterable[tuple[Row, Cost | None]], colours: Mapping[str, str], marker: str
) -> None:
    points = []
    for row, cost in rows:
        if cost is None or not (spread := row.metrics["AP"]):
            continue
        x, low, high = cost
        y = 100 * spread.mean
        points.append((x, y))
        whiskers = [[x - low], [high - x]] if high > low else None
        style: dict[str, Any] = {"fmt": marker, "color": colours[row.label], "markersize": 7}
        axes.errorbar(x, y, spread.bar, whiskers, **style)
        # A colour is that of a label, at whatever scale.
        axes.annotate(row.scale or "", (x, y), (6, 6), textcoords="offset points", fontsize=9)
    edge = pareto_front(points)
    axes.plot([x for x, _ in edge], [y for _, y in edge], ":", color=INK, alpha=0.5, zorder=0)


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those (cost, AP) than which none is both cheaper and better, from the cheapest on."""
    best: list[tuple[float, float]] = []
    for cost, ap in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or ap > best[-1][1]:
            best.append((cost, ap))
    return best


def svg(figure: Figure) -> str:
    """An SVG element for a page: no background, and lines and letters in the page's own colour."""
    text = StringIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    element = text.getvalue()
    return element[element.index("<svg") :].replace(INK.lower(), "currentColor")


@rc_context(STYLE | {"axes.grid.axis": "y", "axes.axisbelow": True, "legend.fontsize": 8})
def bars(rows: Sequence[Mapping[str, Any]], path: Path, titles: Mapping[str, str]) -> None:
    """Draw a benchmark: median time of every neck in every runtime, one panel a part and scale.

    Whiskers: 10th and 90th percentile; the number on a bar: its ratio to the baseline, with a `?`
    where it is unsteady.

    Args:
        rows: Of the JSON. Of their sizes and batch sizes, those of the first row are drawn.
        path: The picture to write.
        titles: Names of the runtimes.
    """
    size, batch, threads = (rows[0][key] for key in ("imgsz", "batch", "threads"))
    panels: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        if (row["imgsz"], row["batch"]) == (size, batch):
            panels.setdefault((row["scale"] or "", row["part"]), []).append(row)
    down, across = -(-len(panels) // 2), min(len(panels), 2)
    figure = Figure(figsize=(4.6 * across, 3.6 * down))
    figure.suptitle(f"{size} pixels, batch {batch}, {threads} threads")
    for number, (panel, group) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(down, across, number)
        _groups_of_bars(axes, group, titles)
        axes.set_title(" ".join(panel).strip())
    figure.savefig(path)


def _groups_of_bars(axes: Axes, rows: Sequence[Any], titles: Mapping[str, str]) -> None:
    """A group for each runtime and precision, in it a bar for each neck."""
    ways = list(dict.fromkeys((r["runtime"], r["precision"]) for r in rows))
    colours = _styles((r["neck"] for r in rows), COLOURS)
    width = (1 - GAP) / len(colours)
    for i, (neck, colour) in enumerate(colours.items()):
        group = [r for r in rows if r["neck"] == neck]
        shift = (i - (len(colours) - 1) / 2) * width
        x = [ways.index((r["runtime"], r["precision"])) + shift for r in group]
        y, low, high = (np.array([r[k] for r in group]) for k in ("median_ms", "p10_ms", "p90_ms"))
        whiskers = [y - low, high - y]
        drawn = axes.bar(x, y, 0.95 * width, color=colour, label=neck, yerr=whiskers)
        if neck != rows[0]["baseline"]:
            # Older results don't say which ratios are unsteady.
            marks = [" ?" if r.get("unsteady") else "" for r in group]
            texts = [f"{r['ratio_to_baseline']:.2f}{m}" for r, m in zip(group, marks, strict=True)]
            axes.bar_label(drawn, texts, padding=2, fontsize=8)
    names = [f"{titles.get(a, a)} {b}".replace(" ", "\n") for a, b in ways]
    axes.set_xticks(range(len(ways)), names, fontsize=8)
    axes.set_ylabel("ms")
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)
    axes.legend()


def _span_at_least(axes: Axes) -> None:
    low, high = axes.get_ylim()
    if (missing := LEAST_SPAN - (high - low)) > 0:
        axes.set_ylim(low - missing / 2, high + missing / 2)


def _styles(keys: Iterable[Any], styles: Sequence[str]) -> dict[Any, str]:
    """One of the styles for each different key."""
    return dict(zip(dict.fromkeys(keys), cycle(styles), strict=False))
