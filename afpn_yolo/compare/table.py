"""From the records of single runs to a table with mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from afpn_yolo.base.markdown import table as markdown_table
from afpn_yolo.base.records import DIGEST
from afpn_yolo.compare.plan import Candidate
from afpn_yolo.compare.store import Record
from afpn_yolo.evaluation import coco

LEAST = 1.0
"""Points of AP below which a model has learnt nothing to speak of: seeds of one neck differ by as
much on a few hundred images."""
SPAN = 10  # epochs over which a neck may not be far behind
METRICS = coco.COLUMNS[:6]  # without the recall
EXPLAINED = "AP in points, mean ± standard deviation over seeds; GFLOPs at the size"
COLUMNS = ("neck", "seeds", "parameters", "GFLOPs", *METRICS)


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

    @property
    def bar(self) -> float | None:
        """The standard deviation in points, as a figure's error bar."""
        return None if self.sd is None else 100 * self.sd

    def points(self) -> str:
        """In points of 0 to 100: `28.0 ± 0.3`."""
        spread = f" ± {100 * self.sd:.1f}" if self.sd is not None else ""
        return f"{100 * self.mean:.1f}{spread}"


@dataclass(frozen=True)
class Row:
    """All finished runs of one neck at one scale.

    Attributes:
        scores: AP of each seed after the last epoch, from 0 to 1.
        curve: Mean AP after each epoch, from Ultralytics' validation.
        low, high: The lowest and the highest of the seeds.
    """

    neck: Candidate
    seeds: tuple[int, ...]
    parameters: int
    gflops: float
    metrics: dict[str, Spread | None]
    scores: tuple[float, ...]
    curve: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def cells(self) -> list[str]:
        """What a table shows of it, by `COLUMNS`."""
        spreads = [self.metrics[key] for key in METRICS]
        return [
            self.neck.name,
            str(len(self.seeds)),
            f"{self.parameters:,}",
            f"{self.gflops:.2f}",
            *(spread.points() if spread else "-" for spread in spreads),
        ]


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
        scores=tuple(run["metrics"]["AP"] for run in runs if run["metrics"]["AP"] is not None),
        curve=tuple(mean(values) for values in by_epoch),
        low=tuple(min(values) for values in by_epoch),
        high=tuple(max(values) for values in by_epoch),
    )


def best_ap(table: Sequence[Row]) -> float:
    """The highest mean AP, in points; 0 where there is none."""
    spreads = (row.metrics["AP"] for row in table)
    return max((100 * spread.mean for spread in spreads if spread), default=0.0)


def has_learnt(table: Sequence[Row]) -> bool:
    """Whether a model has learnt enough for a comparison to say anything."""
    return best_ap(table) >= LEAST


def markdown(table: Sequence[Row], conditions: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """The table, how each neck did against the first of its scale, and notes before it."""
    lines = [*markdown_table(COLUMNS, (row.cells() for row in table))]
    lines += ["", f"{EXPLAINED} of these images. {shown(conditions)}"]
    lines += [*notes, "", *(f"- {line}" for line in versus(table))]
    return "\n".join(lines).rstrip() + "\n"


def shown(conditions: Mapping[str, Any]) -> str:
    """The conditions in a line."""
    hidden = ("backbone", DIGEST)
    listed = ", ".join(f"{k}={v}" for k, v in conditions.items() if v and k not in hidden)
    start = "the same given tensors" if conditions.get("backbone") else "random, or the .pt's"
    return f"{listed}. Backbone: {start}."


def versus(table: Sequence[Row]) -> list[str]:
    """For every neck but the first of its scale: the difference at the end and along the way.

    Nothing of a scale whose models have learnt nothing.
    """
    lines = []
    for scale in dict.fromkeys(row.neck.scale for row in table):
        base, *others = group = [row for row in table if row.neck.scale == scale]
        if has_learnt(group):
            lines += [_difference(row, base) for row in others]
    return lines


def worst_span(row: Row, base: Row) -> tuple[float, int] | None:
    """The lowest mean of the curves' gap over any `SPAN` epochs in a row, in points of AP.

    Returns:
        The gap, and the first of these epochs, counted from 1; None for shorter runs.
    """
    gap = _gap(row, base)
    means = [mean(gap[i : i + SPAN]) for i in range(len(gap) - SPAN + 1)]
    return min((value, i + 1) for i, value in enumerate(means)) if means else None


def _gap(row: Row, base: Row) -> list[float]:
    return [100 * (a - b) for a, b in zip(row.curve, base.curve, strict=False)]


def _difference(row: Row, base: Row) -> str:
    gap = _gap(row, base)
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
    span = worst_span(row, base)
    ten = f", over ten epochs {span[0]:+.1f} from epoch {span[1]} on" if span else ""
    return (
        f"{row.neck.name} against {base.neck.name}: {end:+.1f} AP at the end; lowest "
        f"{gap[worst]:+.1f} at epoch {worst + 1}{ten}; {since} (curves of the means)."
    )
