"""The machine that times are taken on, and whether it was quiet enough for them."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain

import psutil

from afpn_yolo import __version__
from afpn_yolo.base import installed
from afpn_yolo.deploy.cases import ALWAYS, WAYS
from afpn_yolo.upstream.loading import cpu_name

ROOM = 0.5
"""Processes more than cores, on average over a minute, from which a machine counts as busy."""
UNSTEADY = 1.5
"""Ratios of neighbouring calls are unsteady when their 90th percentile is so many times the 10th.
On quiet machines it is 1.05 to 1.5 times."""


@cache
def machine() -> dict[str, str | int | None]:
    """Processor, the cores that it has, and the system."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
    }


@cache
def versions() -> dict[str, str]:
    """Of what the figures depend on, where it is installed."""
    own = {"afpn_yolo": __version__, "python": platform.python_version()}
    packages = dict.fromkeys(chain(("ultralytics", "torch"), ALWAYS, *WAYS.values()))
    return own | installed(packages)


def load() -> float:
    """Processes that wanted a core, mean of the last minute; on Windows, since the first call."""
    return round(psutil.getloadavg()[0], 2)


def is_unsteady(figures: Mapping[str, float]) -> bool:
    """Whether a ratio to the baseline, see `timing.summary`, is more noise than figure."""
    return figures["ratio_p90"] > UNSTEADY * figures["ratio_p10"]


def warnings(unsteady: Sequence[bool], others: float, threads: int) -> list[str]:
    """One sentence for each reason not to trust times; none on a quiet machine.

    `unsteady` holds `is_unsteady` of each ratio, `others` is the load without our own `threads`.
    """
    sentences = []
    if others + threads > max(os.cpu_count() or 1, threads) + ROOM:
        sentences.append(
            f"the machine was busy: a load of {others:.1f} from other processes beside our "
            f"{threads} threads on {os.cpu_count()} cores; measure again when it is idle"
        )
    if any(unsteady):
        sentences.append(
            f"{sum(unsteady)} of {len(unsteady)} ratios are unsteady: they vary by more than "
            f"{UNSTEADY} times between neighbouring calls"
        )
    return sentences
