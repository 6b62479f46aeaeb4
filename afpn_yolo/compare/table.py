"""The table of a comparison: mean and spread over seeds, and the course of the trainings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

from afpn_yolo.compare.plan import Candidate
from afpn_yolo.evaluation.coco import COLUMNS as METRICS
from afpn_yolo.evaluation.records import Record, Row, Spread

LEAST = 1.0
"""Points of AP below which a model has learnt nothing to speak of: seeds of one neck differ by as
much on a few hundred images."""
SPAN = 10  # epochs over which a neck may not be far behind
COLUMNS = ("neck", "seeds", "parameters", "GFLOPs", *METRICS)


def rows(necks: Iterable[Candidate], records: Mapping[str, Record]) -> list[Row]:
    """One row for every neck that has a finished run, in the order of `necks`."""
    groups: dict[tuple[str, str | None], list[Record]] = {}
    for run in sorted(records.values(), key=lambda run: run["seed"]):
        groups.setdefault((run["label"], run["scale"]), []).append(run)
    keys = dict.fromkeys((neck.label, neck.scale) for neck in necks)
    return [_row(*key, groups[key]) for key in keys if key in groups]


def _row(label: str, scale: str | None, runs: Sequence[Record]) -> Row:
    epochs = min(len(run["curve"]["AP"]) for run in runs)
    by_epoch = [[run["curve"]["AP"][i] for run in runs] for i in range(epochs)]
    return Row(
        label=label,
        scale=scale,
        seeds=tuple(run["seed"] for run in runs),
        parameters=runs[0]["parameters"],
        gflops=runs[0]["gflops"],
        metrics={key: Spread.of(run["metrics"][key] for run in runs) for key in METRICS},
        scores=tuple(run["metrics"]["AP"] for run in runs if run["metrics"]["AP"] is not None),
        curve=tuple(mean(values) for values in by_epoch),
        low=tuple(min(values) for values in by_epoch),
        high=tuple(max(values) for values in by_epoch),
    )


def cells(row: Row) -> list[str]:
    """What the table shows of a row, by `COLUMNS`."""
    metrics = (row.metrics[key] for key in METRICS)
    costs = (str(len(row.seeds)), f"{row.parameters:,}", f"{row.gflops:.2f}")
    return [row.name, *costs, *(spread.points() if spread else "-" for spread in metrics)]


def best_ap(table: Iterable[Row]) -> float:
    """The highest mean AP, in points; 0 where there is none."""
    spreads = (row.metrics["AP"] for row in table)
    return max((100 * spread.mean for spread in spreads if spread), default=0.0)


def has_learnt(table: Iterable[Row]) -> bool:
    """Whether a model has learnt enough for a comparison to say anything."""
    return best_ap(table) >= LEAST


def versus(table: Sequence[Row]) -> list[str]:
    """For every neck but the first of its scale: how the trainings went, from the mean curves.

    Nothing of a scale whose models have learnt nothing.
    """
    lines = []
    for scale in dict.fromkeys(row.scale for row in table):
        base, *others = group = [row for row in table if row.scale == scale]
        if has_learnt(group):
            lines += [_course(row, base) for row in others]
    return lines


def _course(row: Row, base: Row) -> str:
    gap = [100 * (a - b) for a, b in zip(row.curve, base.curve, strict=False)]
    worst = min(range(len(gap)), key=gap.__getitem__)
    behind = [i for i, points in enumerate(gap) if points < 0]
    if not behind:
        since = "never behind"
    elif behind[-1] == len(gap) - 1:
        since = "behind at the last epoch"
    else:  # from the epoch after the last one behind, counted from 1
        since = f"ahead for good from epoch {behind[-1] + 2}"
    spans = [(mean(gap[i : i + SPAN]), i + 1) for i in range(len(gap) - SPAN + 1)]
    span = ", over ten epochs {:+.1f} from epoch {} on".format(*min(spans)) if spans else ""
    return (
        f"{row.name} against {base.name}: {gap[-1]:+.1f} AP at the last epoch; lowest "
        f"{gap[worst]:+.1f} at epoch {worst + 1}{span}; {since}."
    )
