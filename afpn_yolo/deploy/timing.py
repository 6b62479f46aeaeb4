"""Timed calls that take turns, and what they come to."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np

Call = Callable[[], object]


def alternate(
    calls: Sequence[Call],
    runs: int,
    warmup: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Time calls in turn: first, second, first, second, …

    Whatever else the machine does then falls on all of them alike.

    Args:
        calls: What is measured.
        runs: Timed rounds.
        warmup: Rounds before them that are not timed.
        clock: Seconds.

    Returns:
        For each call, the milliseconds of each round.
    """
    for _ in range(warmup):
        for call in calls:
            call()
    times: list[list[float]] = [[] for _ in calls]
    gc.collect()
    gc.disable()  # its pauses would fall on whoever is running
    try:
        for _ in range(runs):
            for call, taken in zip(calls, times, strict=True):
                start = clock()
                call()
                taken.append(1000 * (clock() - start))
    finally:
        gc.enable()
    return times


def summary(taken: Sequence[float], baseline: Sequence[float]) -> dict[str, float]:
    """Median and spread of the times of one call, and how they relate to another's.

    `ratio_to_baseline` is the ratio of the two medians; `ratio_p10` and `ratio_p90` are of the
    ratios of calls in the same round.
    """
    low, middle, high = np.quantile(taken, (0.1, 0.5, 0.9))
    ratio_low, ratio_high = np.quantile(np.divide(taken, baseline), (0.1, 0.9))
    figures = {
        "median_ms": middle,
        "p10_ms": low,
        "p90_ms": high,
        "ratio_to_baseline": middle / np.median(baseline),
        "ratio_p10": ratio_low,
        "ratio_p90": ratio_high,
    }
    return {key: round(float(value), 4) for key, value in figures.items()}
