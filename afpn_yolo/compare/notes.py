"""What a reader of the table must know of the runs in it: sizes, versions, data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from afpn_yolo.base.records import DIGEST, TRAINED_WITH
from afpn_yolo.compare.store import Record

DECIDING = ("ultralytics", "torch", "afpn_yolo")
"""The packages whose version may change a figure."""

SOME = ("torchvision",)
"""Those of some models alone: runs of others say nothing of them."""


def remarks(runs: Iterable[Record]) -> dict[str, Any]:
    """Gather what the runs of a table say of themselves.

    Returns:
        `area`: which area of an object its size goes by, None where runs don't say or differ;
        `versions`: package -> version -> runs; `data_unknown`: runs that don't say on which state
        of the data they were made; `mixed`: packages of more than one version.
    """
    runs = list(runs)
    told = [name for name in SOME if any(name in (run.get("versions") or {}) for run in runs)]
    versions: dict[str, dict[str, list[str]]] = {
        name: defaultdict(list) for name in (*DECIDING, *told)
    }
    for run in runs:
        for name in versions:
            for version in _versions(run, name):
                versions[name][version].append(run["run"])
    areas = {run.get("area") for run in runs}
    return {
        "area": areas.pop() if len(areas) == 1 else None,
        "versions": {name: dict(found) for name, found in versions.items()},
        "mixed": [name for name, found in versions.items() if len(found) > 1],
        "data_unknown": [run["run"] for run in runs if not run.get(DIGEST)],
    }


def _versions(run: Record, name: str) -> list[str]:
    """Those of a run's training and of its evaluation, each once."""
    made: list[Mapping[str, str]] = [*run.get(TRAINED_WITH, []), run.get("versions") or {}]
    return list(dict.fromkeys(one.get(name, "unknown") for one in made))


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The same for the reader of a table, a sentence each."""
    lines = []
    if found["area"]:
        lines.append(f"Small, medium and large go by {found['area']}.")
    known = [
        f"{name} {next(iter(versions))}"
        for name, versions in found["versions"].items()
        if name not in found["mixed"] and versions
    ]
    if known:
        lines.append(f"Made with {', '.join(known)}.")
    for name in found["mixed"]:
        shares = [
            f"{version} ({len(runs)} runs)" if len(runs) > 1 else f"{version} ({runs[0]})"
            for version, runs in found["versions"][name].items()
        ]
        lines.append(f"**Different versions of {name}: {', '.join(shares)}.**")
    if found["data_unknown"]:
        lines.append(
            f"{len(found['data_unknown'])} runs don't say on which state of the data they were "
            "made: earlier releases kept no digest of it."
        )
    return lines
