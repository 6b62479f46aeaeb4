"""Two figures of a comparison: the paper's bubble chart, and AP over epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from afpn_yolo.compare.report import Row

COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB")
LARGEST = 2400  # area of the largest bubble, in points squared
LINES = ("-", "--", "-.", ":")


def bubbles(table: Sequence[Row], path: Path) -> None:
    """AP over parameters, one bubble a neck, its area in proportion to GFLOPs (figure 1)."""
    figure, axes = _figure("AP over parameters; bubble area: GFLOPs")
    most = max(row.gflops for row in table)
    for row in table:
        spread = row.metrics["AP"]
        if spread is None:
            continue
        x, y = row.parameters / 1e6, 100 * spread.mean
        colour = _colours(table)[row.neck.label]
        area = LARGEST * row.gflops / most
        axes.scatter(x, y, s=area, color=colour, alpha=0.45, edgecolors=colour)
        bar = None if spread.sd is None else 100 * spread.sd
        axes.errorbar(x, y, yerr=bar, color=colour, capsize=4, fmt=".")
        axes.annotate(
            f"{row.neck.name}\n{row.gflops:.2f} GFLOPs",
            (x, y),
            (math.sqrt(area / math.pi) + 4, 0),  # right of the bubble
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.margins(x=0.35, y=0.35)
    axes.set_xlabel("parameters, millions")
    axes.set_ylabel("AP (bars: standard deviation over seeds)")
    figure.savefig(path, format="png")


def curves(table: Sequence[Row], path: Path) -> None:
    """AP after each epoch: the mean of the seeds, and a band from the lowest to the highest."""
    figure, axes = _figure("AP over epochs, mean and range over seeds")
    scales = list(dict.fromkeys(row.neck.scale for row in table))
    for row in table:
        epochs = range(1, len(row.curve) + 1)
        colour = _colours(table)[row.neck.label]
        style = LINES[scales.index(row.neck.scale) % len(LINES)]
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
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, format="png")


def _figure(title: str) -> tuple[Figure, Axes]:
    # Without pyplot: no display, no state shared with the caller's own figures.
    figure = Figure(figsize=(7, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _colours(table: Sequence[Row]) -> dict[str, str]:
    labels = dict.fromkeys(row.neck.label for row in table)
    return {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}
