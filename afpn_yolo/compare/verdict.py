"""What a comparison says in words: whether necks matter on these data, and which to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

from afpn_yolo.compare.plan import CONTROL
from afpn_yolo.compare.significance import (
    MOST_SEEDS,
    ZERO,
    Difference,
    error_rate,
    pairwise_differences,
)
from afpn_yolo.compare.table import best_ap, has_learnt
from afpn_yolo.evaluation.records import Row

NOTE = (
    "Intervals are over seeds, on these images and under this schedule. They are corrected for the "
    "number of pairs and of verdicts: of equal necks, at most 5 % of such tables show a difference."
)
UNSEEN = "no difference that these images can show"


def judge(table: Sequence[Row], number: int = 1) -> dict[str, Any]:
    """The verdict for every scale.

    Args:
        table: Rows of finished runs.
        number: How many verdicts there have been on this comparison, with this one: each further
            one, with more seeds, is held to a stricter level.

    Returns:
        For JSON: `error_rate`, and a list `scales`, each with `necks_matter` (None: these runs
        don't show it), the differences, `best`, `level_with_best`, and the `text` in sentences.
        Where there can be no verdict, the text says why, and there are no other figures.
    """
    gaps = pairwise_differences([row for row in table if len(row.scores) >= 2], number)
    scales = dict.fromkeys(row.scale for row in table)
    groups = ([row for row in table if row.scale == scale] for scale in scales)
    return {
        "error_rate": error_rate(number),
        "scales": [_of_scale(group, gaps) for group in groups],
    }


def _of_scale(table: Sequence[Row], gaps: Mapping[tuple[str, str], Difference]) -> dict[str, Any]:
    enough = [row for row in table if len(row.scores) >= 2]
    control = next((row for row in enough if row.label == CONTROL), None)
    necks = [row for row in enough if row is not control]
    if control is None or not necks or not has_learnt(table):
        text = [f"No verdict yet: {_why_none(table)}."]
        return {"scale": table[0].scale, "necks_matter": None, "text": text}
    first, *others = necks
    best_neck = max(necks, key=lambda row: mean(row.scores))
    gain = gaps[best_neck.name, control.name]
    against_first = [gaps[row.name, first.name] for row in others]
    best = max(enough, key=lambda row: mean(row.scores))
    level = [row for row in enough if row is not best and not gaps[row.name, best.name].seen]
    return {
        "scale": table[0].scale,
        "necks_matter": gain.ap > 0 if gain.seen else None,
        "against_control": asdict(gain),
        "against_first": [asdict(gap) for gap in against_first],
        "best": best.name,
        "level_with_best": [row.name for row in level],
        "text": [
            _matter(gain, best_neck, control),
            *map(_against, against_first),
            _advice(best, level),
        ],
    }


def _why_none(table: Sequence[Row]) -> str:
    if not has_learnt(table):
        return (
            f"nothing has been learnt (AP {best_ap(table):.1f} at most); train longer (--epochs), "
            "or start from weights (--backbone)"
        )
    controls = [row for row in table if row.label == CONTROL]
    needs = []
    if not controls:
        needs.append(f"a model without a neck beside the others (--control, or {CONTROL}=MODEL)")
    if len(controls) == len(table):
        needs.append("a neck beside the model without one")
    if any(len(row.scores) < 2 for row in table):
        needs.append("at least two seeds of each neck (--seeds 0 1 2)")
    return f"it takes {' and '.join(needs)}"


def _matter(gain: Difference, neck: Row, control: Row) -> str:
    n, m = len(neck.scores), len(control.scores)
    seeds = f"{n} seeds each" if n == m else f"{n} and {m} seeds"
    figures = f"{neck.name} against no neck: {gain}, {seeds}."
    if not gain.seen:
        text = f"These runs don't show that necks matter on these data: {UNSEEN}."
        return f"{text} {figures}{_needed(gain)}"
    matter = "Necks matter on these data" if gain.ap > 0 else "On these data a neck does harm"
    return f"{matter}. {figures}"


def _against(gap: Difference) -> str:
    if gap.seen:
        word = "better" if gap.ap > 0 else "worse"
        return f"{gap.of} is {word} than {gap.to}: {gap}."
    return f"{gap.of} and {gap.to}: {UNSEEN}, {gap}.{_needed(gap)}"


def _needed(gap: Difference) -> str:
    if abs(gap.ap) < ZERO:
        return ""
    if gap.seeds is None:
        return f" A difference of this size would not show with {MOST_SEEDS} seeds of each either."
    last = gap.seeds - 1
    return f" To show a difference of this size, run seeds 0 to {last} of each (--seeds), once."


def _advice(best: Row, level: Sequence[Row]) -> str:
    if not level:
        return f"{best.name} has the highest AP, and every other row is clearly below it."
    lean = min([best, *level], key=lambda row: row.parameters)
    # Equal to the digit that the table shows.
    equal = [r for r in (best, *level) if f"{best_ap([r]):.1f}" == f"{best_ap([best]):.1f}"]
    rest = ", ".join(row.name for row in level if row not in equal)
    text = f"{', '.join(r.name for r in equal)} {'share' if equal[1:] else 'has'} the highest AP"
    if rest:
        text += f"; {rest} can't be told from {best.name if equal[1:] else 'it'}"
    return (
        f"{text}. Of these, {lean.name} has the fewest parameters; afpn benchmark measures "
        "their time."
    )


def pending(done: int, planned: int) -> dict[str, Any]:
    """Stands for a verdict until the last run has ended: to look earlier would count as one."""
    text = f"No verdict yet: {done} of {planned} runs are finished."
    return {"scales": [{"scale": None, "text": [text]}]}


def sentences(verdict: Mapping[str, Any] | None) -> list[str]:
    """The verdict for Markdown, which a terminal shows as it is."""
    if not verdict:
        return []
    lines = []
    for one in verdict["scales"]:
        title = f"Verdict, scale {one['scale']}:" if len(verdict["scales"]) > 1 else "Verdict:"
        lines += [title, "", *(f"- {text}" for text in one["text"]), ""]
    return [*lines, interval_note(verdict)]


def interval_note(verdict: Mapping[str, Any]) -> str:
    """What holds for all intervals; empty where there are none."""
    return NOTE if any("against_control" in one for one in verdict["scales"]) else ""
