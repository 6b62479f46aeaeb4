"""Charts of a comparison: AP over cost, epochs and the size of objects; and the charts' style."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from itertools import cycle
from math import nan
from typing import Any, TypeVar

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
    **{
        "axes.grid": True,
        "grid.alpha": 0.3,
        "errorbar.capsize": 3,
        "axes.titlesize": 11,
        "figure.titlesize": 11,
    },
    **{"figure.figsize": (7, 4.5), "figure.dpi": 150, "figure.constrained_layout.use": True},
}
"""Matplotlib's settings for all charts."""

LARGEST = 1500  # area of the largest bubble, in points squared
LEAST_SPAN = 5.0  # points of AP on an axis: differences of a tenth would look large else

SIZES: dict[Column, str] = {"APS": "small", "APM": "medium", "APL": "large"}
AP_LABEL = "AP (bars: standard deviation over seeds)"
# Of a legend right of the axes: names beside points would cover one another where necks are alike.
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1), "fontsize": 9}
Cost = tuple[float, float, float]
"""Median, low and high end of what a model costs."""

Key = TypeVar("Key")


@rc_context(STYLE)
def bubbles(table: Sequence[Row]) -> Figure:
    """AP over parameters, one bubble a neck, its area in proportion to GFLOPs (figure 1)."""
    figure = Figure()  # without pyplot: no display, no state shared with the caller's figures
    axes = figure.subplots()
    axes.set_title("AP over parameters; bubble area: GFLOPs")
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
    axes.set_ylabel(AP_LABEL)
    return figure


@rc_context(STYLE)
def curves(table: Sequence[Row]) -> Figure:
    """AP after each epoch: the mean of the seeds, and a band from the lowest to the highest."""
    figure = Figure()
    axes = figure.subplots()
    axes.set_title("AP over epochs, mean and range over seeds")
    colours = _styles((row.label for row in table), COLOURS)
    styles = _styles((row.scale for row in table), LINES)
    for row in table:
        epochs = range(1, len(row.curve) + 1)
        mean, low, high = ([100 * v for v in line] for line in (row.curve, row.low, row.high))
        label = f"{row.name} ({len(row.seeds)} seed{'s' * (len(row.seeds) > 1)})"
        axes.plot(epochs, mean, styles[row.scale], color=colours[row.label], label=label)
        axes.fill_between(epochs, low, high, color=colours[row.label], alpha=0.2, linewidth=0)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("AP (validation during training)")
    axes.set_ylim(0, max(axes.get_ylim()[1], LEAST_SPAN))
    axes.legend(loc="lower right")
    return figure


@rc_context(STYLE)
def sizes(table: Sequence[Row]) -> Figure:
    """AP of small, medium and large objects; a size of which there is none has no point."""
    figure = Figure()
    axes = figure.subplots()
    axes.set_title("AP by the size of objects")
    colours = _styles((row.label for row in table), COLOURS)
    for number, row in enumerate(table):
        shift = (number - (len(table) - 1) / 2) * 0.7 / len(table)
        places = [place + shift for place in range(len(SIZES))]
        spreads = [row.metrics[key] for key in SIZES]
        y = [100 * spread.mean if spread else nan for spread in spreads]
        bars = [spread.bar or 0 if spread else nan for spread in spreads]
        marker, colour = MARKERS[number % len(MARKERS)], colours[row.label]
        axes.errorbar(places, y, bars, fmt=marker, color=colour, label=row.name)
    axes.set_xticks(range(len(SIZES)), [*SIZES.values()])
    axes.set_xlim(-0.5, len(SIZES) - 0.5)
    axes.set_ylim(0, max(axes.get_ylim()[1], LEAST_SPAN))
    axes.set_ylabel(AP_LABEL)
    axes.legend(fontsize=9)
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
        bars = [[x - low], [high - x]] if high > low else None
        style: dict[str, Any] = {"fmt": marker, "color": colours[row.label], "markersize": 7}
        axes.errorbar(x, y, spread.bar, bars, **style)
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


def _span_at_least(axes: Axes) -> None:
    low, high = axes.get_ylim()
    if (missing := LEAST_SPAN - (high - low)) > 0:
        axes.set_ylim(low - missing / 2, high + missing / 2)


def _styles(keys: Iterable[Key], styles: Sequence[str]) -> dict[Key, str]:
    """One of the styles for each different key."""
    return dict(zip(dict.fromkeys(keys), cycle(styles), strict=False))
