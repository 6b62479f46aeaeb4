"""What all charts share: colours, markers, and axes without clutter."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

COLOURS = (
    *("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE"),
    *("#AA3377", "#BBBBBB", "#EE7733", "#222222", "#009988"),
)
"""One for each neck; readers with colour blindness can tell them apart."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
INK = "#1f2328"
"""Of lines and letters; `svg` replaces it by the page's own colour."""


def new_figure(title: str, columns: int = 1, width: float = 7) -> tuple[Figure, Any]:
    """A figure with one pair of axes, or with an array of several side by side."""
    # Without pyplot: no display, no state shared with the caller's own figures.
    figure = Figure(figsize=(width, 4.5), dpi=150, layout="constrained")
    axes = figure.subplots(1, columns)
    for one in figure.axes:
        one.grid(alpha=0.3)
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["bottom", "left"]].set_color(INK)
        one.tick_params(colors=INK)
        one.xaxis.label.set_color(INK)
        one.yaxis.label.set_color(INK)
    if columns == 1:
        axes.set_title(title, fontsize=11, color=INK)
    else:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure, axes
