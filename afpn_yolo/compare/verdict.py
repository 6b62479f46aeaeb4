"""What a comparison says in words: whether necks matter on these data, and which to take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, variance
from typing import Any

from scipy import stats

from afpn_yolo.compare.plan import CONTROL
from afpn_yolo.compare.table import best_ap, has_learnt
from afpn_yolo.evaluation.records import Row

CONFIDENCE, POWER = 0.95, 0.8
MOST_SEEDS = 100
ZERO = 0.05  # points; a smaller difference is shown as 0.0
NOTE = "The intervals are over seeds, on these images and under this schedule."
UNSEEN = "no difference that these images can show"


@dataclass(frozen=True)
class Difference:
    """How far one neck is ahead of another, with the uncertainty that the seeds leave.

    Attributes:
        of, to: Names of the two rows.
        ap: Mean of the first less mean of the second, in AP points.
        low, high: Welch's interval of 95 %, in points. Each row has two or more seeds, and their
            variances need not be the same: few data make one neck's runs scatter more than the
            other's. A bootstrap of three seeds has ten different draws and comes out too narrow,
            and nothing pairs the runs of a seed, since two networks draw different weights from it.
            The interval is of this one pair: of twenty such, one is expected to miss.
        seeds_more: About how many more seeds of each would show a difference of this size, four
            times out of five; 0 where it is seen already, None where even 100 would not, or where
            it is none to a tenth of a point.
    """

    of: str
    to: str
    ap: float
    low: float
    high: float
    seeds_more: int | None

    @property
    def seen(self) -> bool:
        """Whether the interval is on one side of zero."""
        return not self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{self.ap:+.1f} AP (95 % interval {self.low:+.1f} to {self.high:+.1f})"


def difference(row: Row, base: Row) -> Difference:
    """Hold one row against another; both need two seeds or more."""
    ours, theirs = ([100 * score for score in one.scores] for one in (row, base))
    ap, spread = mean(ours) - mean(theirs), variance(ours) + variance(theirs)
    low = high = ap
    if spread > 0:
        low, high = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(CONFIDENCE)
    few = min(len(ours), len(theirs))
    more = 0 if not low <= 0 <= high else _seeds_more(ap, spread, few)
    return Difference(row.name, base.name, ap, float(low), float(high), more)


def _seeds_more(ap: float, spread: float, now: int) -> int | None:
    if abs(ap) < ZERO:
        return None
    for n in range(2, MOST_SEEDS + 1):
        needed = stats.t.ppf((1 + CONFIDENCE) / 2, 2 * n - 2) + stats.t.ppf(POWER, 2 * n - 2)
        if needed * math.sqrt(spread / n) <= abs(ap):
            return max(1, n - now)
    return None


def verdict(table: Sequence[Row]) -> dict[str, Any]:
    """The verdict for every scale.

    Returns:
        For JSON: `confidence`, and a list `scales`, each with `necks_matter` (None: these runs
        don't show it), the differences, `best`, `level_with_best`, and the `text` in sentences.
        Where there can be no verdict, the text says why, and there are no other figures.
    """
    scales = dict.fromkeys(row.scale for row in table)
    groups = ([row for row in table if row.scale == scale] for scale in scales)
    return {"confidence": CONFIDENCE, "scales": [*map(_of_scale, groups)]}


def _of_scale(table: Sequence[Row]) -> dict[str, Any]:
    enough = [row for row in table if len(row.scores) >= 2]
    control = next((row for row in enough if row.label == CONTROL), None)
    necks = [row for row in enough if row is not control]
    if control is None or not necks or not has_learnt(table):
        text = [f"No verdict yet: {_why_none(table)}."]
        return {"scale": table[0].scale, "necks_matter": None, "text": text}
    first, others = necks[0], necks[1:]
    gain = difference(first, control)
    gaps = [difference(row, first) for row in others]
    best = max(enough, key=lambda row: mean(row.scores))
    level = [r for r in enough if r is not best and not difference(r, best).seen]
    return {
        "scale": table[0].scale,
        "necks_matter": gain.ap > 0 if gain.seen else None,
        "against_control": asdict(gain),
        "against_first": [asdict(gap) for gap in gaps],
        "best": best.name,
        "level_with_best": [row.name for row in level],
        "text": [_matter(gain, first, control), *map(_against, gaps), _advice(best, level)],
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


def _matter(gain: Difference, first: Row, control: Row) -> str:
    seeds = f"{len(first.scores)} and {len(control.scores)} seeds"
    figures = f"{first.name} against no neck: {gain}, {seeds}."
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
    if gap.seeds_more is None:
        return f" A difference of this size would not show with {MOST_SEEDS} seeds of each either."
    more = f"{gap.seeds_more} more seed{'s' * (gap.seeds_more > 1)}"
    return f" About {more} of each would show a difference of this size."


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
