"""Timed calls that take turns, and what they come to. Standard library only."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from statistics import median

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


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of all lies below; between two, on the line that joins them."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(taken: Sequence[float], baseline: Sequence[float]) -> dict[str, float]:
    """Median and spread of the times of one call, and how they relate to another's.

    `ratio_to_pafpn` is the ratio of the two medians; `ratio_p10` and `ratio_p90` are of the ratios
    of calls in the same round.
    """
    ratios = [a / b for a, b in zip(taken, baseline, strict=True)]
    figures = {
        "median_ms": median(taken),
        "p10_ms": quantile(taken, 0.1),
        "p90_ms": quantile(taken, 0.9),
        "ratio_to_pafpn": median(taken) / median(baseline),
        "ratio_p10": quantile(ratios, 0.1),
        "ratio_p90": quantile(ratios, 0.9),
    }
    return {key: round(value, 4) for key, value in figures.items()}
