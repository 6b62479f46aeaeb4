"""What a comparison says in words: whether necks matter on these data, and which to take.

Every pair of rows is tested by Welch's t-test. Holm's correction over all pairs keeps the chance of
any false difference in the whole table at 5 %, of which a second verdict, after more seeds, takes
its share; tests/compare/test_verdict.py simulates it. Each row's variance leans on that of all
rows: by Welch alone, three seeds of four necks see a difference of six standard deviations in 72 %
of comparisons, so in 99 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import mean, variance
from typing import Any

from scipy import stats

from afpn_yolo.compare.plan import CONTROL
from afpn_yolo.compare.table import best_ap, has_learnt
from afpn_yolo.evaluation.records import Row

ERROR_RATE, POWER = 0.05, 0.8
FIRST_VERDICT = 0.03  # of the error rate; each further verdict takes half of what is left
MOST_SEEDS = 100
ZERO = 0.05  # points; a smaller difference is shown as 0.0
LEAST_SD = 0.1  # points; seeds that agree to the shown digit don't make an interval of no width
NOTE = (
    "Intervals are over seeds, on these images and under this schedule. They are corrected for the "
    "number of pairs and of verdicts: of equal necks, at most 5 % of such tables show a difference."
)
UNSEEN = "no difference that these images can show"


@dataclass(frozen=True)
class Difference:
    """How far one neck is ahead of another, with the uncertainty that the seeds leave.

    Attributes:
        of, to: Names of the two rows.
        ap: Mean of the first less mean of the second, in AP points.
        low, high: Welch's interval in points, at Holm's level for this pair.
        seeds: Seeds of each row that would show a difference of this size, four times out of five,
            in the next verdict; 0 where it is seen already, None where even 100 would not, or where
            it is none to a tenth of a point.
    """

    of: str
    to: str
    ap: float
    low: float
    high: float
    seeds: int | None

    @property
    def seen(self) -> bool:
        """Whether the interval is on one side of zero."""
        return not self.low <= 0 <= self.high

    def __str__(self) -> str:
        return f"{self.ap:+.1f} AP (interval {self.low:+.1f} to {self.high:+.1f})"


def error_rate(number: int) -> float:
    """The error rate that the verdict of this number, counted from 1, may use."""
    if number == 1:
        return FIRST_VERDICT
    return float((ERROR_RATE - FIRST_VERDICT) / 2 ** (number - 1))


def differences(table: Sequence[Row], number: int = 1) -> dict[tuple[str, str], Difference]:
    """Every pair of rows of one scale, both ways round, by names; each row has two seeds or more.

    Args:
        table: Rows of all scales.
        number: Of the verdict, counted from 1.
    """
    tests = []
    for scale in dict.fromkeys(row.scale for row in table):
        samples = [Sample.of(row) for row in table if row.scale == scale]
        leaning = [sample.lean(samples) for sample in samples]
        tests += [Welch(a, b) for a, b in combinations(leaning, 2)]
    tests.sort(key=lambda test: test.p)
    result: dict[tuple[str, str], Difference] = {}
    left = len(tests)
    for test in tests:
        level = error_rate(number) / left
        seeds: int | None = 0
        if test.p < level:
            left -= 1  # Holm: the next pair is one of fewer
        else:
            seeds = test.seeds_needed(error_rate(number + 1) / left)
        low, high = test.interval(level)
        of, to = test.a.name, test.b.name
        result[of, to] = Difference(of, to, test.ap, low, high, seeds)
        result[to, of] = Difference(to, of, -test.ap, -high, -low, seeds)
    return result


@dataclass(frozen=True)
class Sample:
    """The APs of a row's seeds, in points: name, mean, variance, number of seeds."""

    name: str
    mean: float
    variance: float
    seeds: int

    @classmethod
    def of(cls, row: Row) -> Sample:
        """Of a row with two seeds or more."""
        scores = [100 * score for score in row.scores]
        return cls(row.name, mean(scores), variance(scores), len(scores))

    def lean(self, samples: Sequence[Sample]) -> Sample:
        """With a variance that leans on that of all rows, as if by two more seeds.

        Two or three seeds tell little of a row's variance, and the intervals that follow from them
        alone are too wide to show that necks matter.
        """
        freedom = sum(sample.seeds - 1 for sample in samples)
        pooled = sum(sample.variance * (sample.seeds - 1) for sample in samples) / freedom
        leaning = (2 * pooled + (self.seeds - 1) * self.variance) / (self.seeds + 1)
        return replace(self, variance=max(leaning, LEAST_SD**2))


@dataclass(frozen=True)
class Welch:
    """Welch's t-test of two samples, which may scatter differently.

    Nothing pairs the runs of a seed, since two networks draw different weights from it.
    """

    a: Sample
    b: Sample

    @property
    def ap(self) -> float:
        """Mean of the first less mean of the second, in points."""
        return self.a.mean - self.b.mean

    @property
    def error(self) -> float:
        """Standard error of `ap`."""
        return math.sqrt(self.a.variance / self.a.seeds + self.b.variance / self.b.seeds)

    @property
    def freedom(self) -> float:
        """Welch's degrees of freedom. Of the two seeds of `lean`, one is counted."""
        rests = ((x.variance / x.seeds) ** 2 / x.seeds for x in (self.a, self.b))
        return self.error**4 / sum(rests)

    @property
    def p(self) -> float:
        """Two-sided."""
        return float(2 * stats.t.sf(abs(self.ap) / self.error, self.freedom))

    def interval(self, level: float) -> tuple[float, float]:
        """The interval that misses the true difference at this rate."""
        margin = float(stats.t.ppf(1 - level / 2, self.freedom)) * self.error
        return self.ap - margin, self.ap + margin

    def seeds_needed(self, level: float) -> int | None:
        """See `Difference.seeds`."""
        if abs(self.ap) < ZERO:
            return None
        spread, few = self.a.variance + self.b.variance, min(self.a.seeds, self.b.seeds)
        for n in range(few + 1, MOST_SEEDS + 1):
            needed = stats.t.ppf(1 - level / 2, 2 * n) + stats.t.ppf(POWER, 2 * n)
            if needed * math.sqrt(spread / n) <= abs(self.ap):
                return n
        return None


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
    gaps = differences([row for row in table if len(row.scores) >= 2], number)
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
