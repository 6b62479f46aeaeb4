"""Which differences between the rows of a comparison are more than chance.

Every pair of rows is tested by Welch's t-test. Holm's correction over all pairs keeps the chance of
any false difference in the whole table at 5 %, of which a second verdict, after more seeds, takes
its share; tests/compare/test_verdict.py simulates it. Each row's variance leans on that of all
rows: by Welch alone, three seeds of four necks see a difference of six standard deviations in 72 %
of comparisons, so in 99 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import mean, variance

from scipy import stats

from afpn_yolo.evaluation.records import Row

ERROR_RATE, POWER = 0.05, 0.8
FIRST_VERDICT = 0.03  # of the error rate; each further verdict takes half of what is left
MOST_SEEDS = 100
ZERO = 0.05  # points; a smaller difference is shown as 0.0
LEAST_SD = 0.1  # points; seeds that agree to the shown digit don't make an interval of no width


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


def pairwise_differences(
    table: Sequence[Row], number: int = 1
) -> dict[tuple[str, str], Difference]:
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
