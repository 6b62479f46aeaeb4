"""From the records of single runs to a table with mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from afpn_yolo.compare.plan import Candidate
from afpn_yolo.compare.records import Record

METRICS = ("AP", "AP50", "AP75", "APS", "APM", "APL")


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and the standard deviation where there are two or more."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Of the values that are there; None of none."""
        present = [v for v in values if v is not None]
        if not present:
            return None
        return cls(mean(present), stdev(present) if len(present) > 1 else None)

    def points(self) -> str:
        """In points of 0 to 100: `28.0 ± 0.3`."""
        spread = f" ± {100 * self.sd:.1f}" if self.sd is not None else ""
        return f"{100 * self.mean:.1f}{spread}"


@dataclass(frozen=True)
class Row:
    """All finished runs of one neck at one scale.

    Attributes:
        curve: Mean AP after each epoch, from Ultralytics' validation.
        low, high: The lowest and the highest of the seeds.
    """

    neck: Candidate
    seeds: tuple[int, ...]
    parameters: int
    gflops: float
    metrics: dict[str, Spread | None]
    curve: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def rows(necks: Sequence[Candidate], finished: dict[str, Record]) -> list[Row]:
    """One row for every neck that has a finished run, in the order of `necks`."""
    result = []
    for neck in necks:
        runs = [
            r for r in finished.values() if (r["label"], r["scale"]) == (neck.label, neck.scale)
        ]
        if runs:
            result.append(_row(neck, sorted(runs, key=lambda r: int(r["seed"]))))
    return result


def _row(neck: Candidate, runs: list[Record]) -> Row:
    epochs = min(len(run["curve"]["AP"]) for run in runs)
    by_epoch = [[run["curve"]["AP"][i] for run in runs] for i in range(epochs)]
    return Row(
        neck=neck,
        seeds=tuple(run["seed"] for run in runs),
        parameters=runs[0]["parameters"],
        gflops=runs[0]["gflops"],
        metrics={key: Spread.of(run["metrics"][key] for run in runs) for key in METRICS},
        curve=tuple(mean(values) for values in by_epoch),
        low=tuple(min(values) for values in by_epoch),
        high=tuple(max(values) for values in by_epoch),
    )


def markdown(table: Sequence[Row], conditions: dict[str, Any]) -> str:
    """The table, and how each neck did against the first of its scale."""
    lines = [
        "| neck | seeds | parameters | GFLOPs | " + " | ".join(METRICS) + " |",
        "| --- |" + " ---: |" * (3 + len(METRICS)),
    ]
    for row in table:
        cells = [row.neck.name, str(len(row.seeds)), f"{row.parameters:,}", f"{row.gflops:.2f}"]
        for key in METRICS:
            spread = row.metrics[key]
            cells.append(spread.points() if spread else "-")
        lines.append(f"| {' | '.join(cells)} |")
    shown = ", ".join(f"{k}={v}" for k, v in conditions.items() if v and k != "backbone")
    start = "the same given tensors" if conditions.get("backbone") else "random, or the .pt's"
    lines += [
        "",
        f"AP in points, mean ± standard deviation over seeds. {shown}. Backbone: {start}.",
    ]
    return "\n".join([*lines, "", *versus(table)]).rstrip() + "\n"


def versus(table: Sequence[Row]) -> list[str]:
    """For every neck but the first of its scale: the difference at the end and along the way."""
    first: dict[str | None, Row] = {}
    lines = []
    for row in table:
        base = first.setdefault(row.neck.scale, row)
        if base is not row:
            lines.append(f"- {_difference(row, base)}")
    return lines


def _difference(row: Row, base: Row) -> str:
    gap = [100 * (a - b) for a, b in zip(row.curve, base.curve, strict=False)]
    worst = min(range(len(gap)), key=gap.__getitem__)
    ours, theirs = row.metrics["AP"], base.metrics["AP"]
    end = 100 * (ours.mean - theirs.mean) if ours and theirs else gap[-1]
    behind = [i for i, g in enumerate(gap) if g < 0]
    if not behind:
        since = "never behind"
    elif behind[-1] == len(gap) - 1:
        since = "behind at the last epoch"
    else:  # from the epoch after the last one behind, counted from 1
        since = f"ahead for good from epoch {behind[-1] + 2}"
    return (
        f"{row.neck.name} against {base.neck.name}: {end:+.1f} AP at the end; lowest "
        f"{gap[worst]:+.1f} at epoch {worst + 1}; {since} (curves of the means)."
    )
