"""A bar chart of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from afpn_yolo.plots.comparison import COLOURS, STYLE

Row = Mapping[str, Any]
GAP = 0.3  # between the groups of bars, in widths of a group


@rc_context(STYLE | {"axes.grid.axis": "y", "axes.axisbelow": True})
def bars(rows: Sequence[Row], path: Path, titles: Mapping[str, str]) -> None:
    """Median time of every neck in every runtime, one panel a part and scale.

    Whiskers: 10th and 90th percentile; the number on a bar: its ratio to the baseline, with a `?`
    where it is unsteady.

    Args:
        rows: Of the JSON. Of their sizes and batch sizes, those of the first row are drawn.
        path: The picture to write.
        titles: Names of the runtimes.
    """
    rows = [r for r in rows if (r["imgsz"], r["batch"]) == (rows[0]["imgsz"], rows[0]["batch"])]
    panels = list(dict.fromkeys((r["part"], r["scale"]) for r in rows))
    down, across = -(-len(panels) // 2), min(len(panels), 2)
    figure = Figure(figsize=(4.6 * across, 3.6 * down))
    for number, panel in enumerate(panels, 1):
        axes = figure.add_subplot(down, across, number)
        _panel(axes, [r for r in rows if (r["part"], r["scale"]) == panel], titles)
        axes.set_title(" ".join(word for word in reversed(panel) if word))
    size, batch, threads = (rows[0][key] for key in ("imgsz", "batch", "threads"))
    figure.suptitle(f"{size} pixels, batch {batch}, {threads} threads")
    figure.savefig(path)


def _panel(axes: Axes, rows: Sequence[Row], titles: Mapping[str, str]) -> None:
    ways = list(dict.fromkeys((r["runtime"], r["precision"]) for r in rows))
    necks = list(dict.fromkeys(r["neck"] for r in rows))
    width = (1 - GAP) / len(necks)
    for i, neck in enumerate(necks):
        for row in (r for r in rows if r["neck"] == neck):
            x = ways.index((row["runtime"], row["precision"])) + (i - (len(necks) - 1) / 2) * width
            middle, low, high = (row[key] for key in ("median_ms", "p10_ms", "p90_ms"))
            colour = COLOURS[i % len(COLOURS)]
            axes.bar(x, middle, 0.95 * width, color=colour, label=neck)
            axes.errorbar(x, middle, [[middle - low], [high - middle]], color="black")
            if neck != row["baseline"]:
                text = f"{row['ratio_to_baseline']:.2f}" + " ?" * row["unsteady"]
                axes.annotate(
                    text, (x, high), (0, 2), textcoords="offset points", ha="center", fontsize=8
                )
    names = [f"{titles.get(a, a)} {b}".replace(" ", "\n") for a, b in ways]
    axes.set_xticks(range(len(ways)), names, fontsize=8)
    axes.set_ylabel("ms")
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(once.values(), once.keys(), fontsize=8)
