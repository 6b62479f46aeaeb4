"""Figures of a comparison: the paper's bubble chart, AP over epochs, and AP by object size."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from itertools import cycle
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from afpn_yolo.compare.table import Row
from afpn_yolo.plots.palette import COLOURS, INK, LINES, MARKERS, new_figure

LARGEST = 1500  # area of the largest bubble, in points squared
SIZES = {"APS": "small", "APM": "medium", "APL": "large"}
# Of a legend right of the axes: names beside points would cover one another where necks are alike.
BESIDE: dict[str, Any] = {
    "loc": "upper left",
    "bbox_to_anchor": (1, 1),
    "frameon": False,
    "labelcolor": INK,
    "fontsize": 9,
}


def bubbles(table: Sequence[Row]) -> Figure:
    """AP over parameters, one bubble a neck, its area in proportion to GFLOPs (figure 1)."""
    figure, axes = new_figure("AP over parameters; bubble area: GFLOPs")
    most = max(row.gflops for row in table)
    colours, markers = _colours(table), _by_scale(table, MARKERS)
    for row in table:
        spread = row.metrics["AP"]
        if spread is None:
            continue
        x, y = row.parameters / 1e6, 100 * spread.mean
        colour, marker = colours[row.neck.label], markers[row.neck.scale]
        area = LARGEST * row.gflops / most
        axes.scatter(x, y, s=area, color=colour, alpha=0.45, edgecolors=colour)
        label = f"{row.neck.name}: {row.gflops:.2f} GFLOPs"
        axes.errorbar(x, y, yerr=spread.bar, color=colour, capsize=4, fmt=marker, label=label)
    axes.legend(**BESIDE)
    axes.margins(x=0.2, y=0.25)
    axes.set_xlabel("parameters, millions")
    axes.set_ylabel("AP (bars: standard deviation over seeds)")
    return figure


def curves(table: Sequence[Row]) -> Figure:
    """AP after each epoch: the mean of the seeds, and a band from the lowest to the highest."""
    figure, axes = new_figure("AP over epochs, mean and range over seeds")
    colours, styles = _colours(table), _by_scale(table, LINES)
    for row in table:
        epochs = range(1, len(row.curve) + 1)
        colour, style = colours[row.neck.label], styles[row.neck.scale]
        seeds = f"{len(row.seeds)} seed{'s' * (len(row.seeds) > 1)}"
        axes.plot(
            epochs,
            [100 * v for v in row.curve],
            style,
            color=colour,
            label=f"{row.neck.name} ({seeds})",
        )
        axes.fill_between(
            epochs,
            [100 * v for v in row.low],
            [100 * v for v in row.high],
            color=colour,
            alpha=0.2,
            linewidth=0,
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel("AP (validation during training)")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right", frameon=False, labelcolor=INK)
    return figure


def sizes(table: Sequence[Row]) -> Figure:
    """AP of small, medium and large objects; a size of which there is none has no point."""
    figure, axes = new_figure("AP by the size of objects")
    for number, row in enumerate(table):
        shift = (number - (len(table) - 1) / 2) * 0.7 / len(table)
        colour = _colours(table)[row.neck.label]
        for place, key in enumerate(SIZES):
            if spread := row.metrics[key]:
                label = row.neck.name if key == _first_size(row) else None
                marker = MARKERS[number % len(MARKERS)]
                at = place + shift
                y, bar = 100 * spread.mean, spread.bar
                axes.errorbar(at, y, bar, fmt=marker, color=colour, capsize=3, label=label)
    axes.set_xticks(range(len(SIZES)), [*SIZES.values()])
    axes.set_xlim(-0.5, len(SIZES) - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("AP (bars: standard deviation over seeds)")
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return figure


def _first_size(row: Row) -> str | None:
    return next((key for key in SIZES if row.metrics[key]), None)


def svg(figure: Figure) -> str:
    """An SVG element for a page: no background, and lines and letters in the page's own colour."""
    text = StringIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    element = text.getvalue()
    return element[element.index("<svg") :].replace(INK.lower(), "currentColor")


def _colours(table: Sequence[Row]) -> dict[str, str]:
    labels = dict.fromkeys(row.neck.label for row in table)
    return dict(zip(labels, cycle(COLOURS), strict=False))


def _by_scale(table: Sequence[Row], styles: Sequence[str]) -> dict[str | None, str]:
    scales = dict.fromkeys(row.neck.scale for row in table)
    return dict(zip(scales, cycle(styles), strict=False))
