"""The rows of a benchmark, and Markdown tables of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, TypedDict

from afpn_yolo.base import markdown_table
from afpn_yolo.deploy.cases import TITLES
from afpn_yolo.deploy.machine import warnings

Key = tuple[Any, ...]


class Row(TypedDict):
    """One neck in one case, as it stands in the JSON.

    `neck` is its label, `model` its file. `ratio_*` are of the times to the `baseline`'s,
    `unsteady` says that these vary too much to mean anything. `gflops` are of one image, unfused;
    `bytes` of the runtime's file. `load` is the machine's without our own threads.
    """

    neck: str
    scale: str | None
    part: str
    runtime: str
    precision: str
    imgsz: int
    batch: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    ratio_to_baseline: float
    ratio_p10: float
    ratio_p90: float
    unsteady: bool
    parameters: int
    gflops: float
    nodes: int
    bytes: int
    peak_memory_mb: float
    base_memory_mb: float
    runs: int
    warmup: int
    threads: int
    load: float
    baseline: str
    model: str
    machine: dict[str, Any]
    versions: dict[str, str]


def markdown(rows: Sequence[Row]) -> str:
    """All tables: what the models are, and what they cost."""
    return "\n".join([*_conditions(rows), "", *_models(rows), "", *_times(rows)]) + "\n"


def _conditions(rows: Sequence[Row]) -> list[str]:
    first = rows[0]
    machine, versions = first["machine"], first["versions"]
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores ({machine['architecture']}), "
        f"{first['threads']} threads. {listed}.",
        "",
        f"Milliseconds: median of {first['runs']} calls after {first['warmup']} to warm up, in "
        "brackets the 10th and the 90th percentile. The necks' calls alternate. "
        f"Ratio: of the medians to {first['baseline']}'s; in brackets the 10th and the 90th "
        "percentile over pairs of neighbouring calls, `?` where these are too far apart. Memory: "
        "peak of a process that runs this model alone, interpreter and runtime included. GFLOPs: "
        "of one image, unfused.",
    ]
    for sentence in quality(rows):
        lines += ["", f"**Careful**: {sentence}."]
    return lines


def quality(rows: Sequence[Row]) -> list[str]:
    """One sentence for each reason not to trust the times."""
    unsteady = [row["unsteady"] for row in rows if row["neck"] != row["baseline"]]
    return warnings(unsteady, max(row["load"] for row in rows), rows[0]["threads"])


def _models(rows: Sequence[Row]) -> Iterator[str]:
    """One line a model: parameters, nodes, and the size of its file in each format."""
    size, batch = rows[0]["imgsz"], rows[0]["batch"]
    formats = list(dict.fromkeys((r["runtime"], r["precision"]) for r in rows))
    head = ["model", "parameters", f"GFLOPs at {size}", "ONNX nodes"]
    lines = []
    for key, group in _groups(rows, itemgetter("neck", "scale", "part")).items():
        here = [r for r in group if r["imgsz"] == size and r["batch"] == batch] or group
        sizes = {(r["runtime"], r["precision"]): r["bytes"] for r in here}
        cells = [f"{here[0]['parameters']:,}", f"{here[0]['gflops']:.3f}", str(here[0]["nodes"])]
        cells += [f"{sizes[f] / 1e6:.2f}" if f in sizes else "-" for f in formats]
        lines.append([" ".join(filter(None, key)), *cells])
    return markdown_table([*head, *(f"{_way(*f)}, MB" for f in formats)], lines)


def _times(rows: Sequence[Row]) -> Iterator[str]:
    """One line a case: time, ratio and memory of each neck."""
    necks = list(dict.fromkeys(r["neck"] for r in rows))
    others = [neck for neck in necks if neck != rows[0]["baseline"]]
    head = ["part", "runtime", "size", "batch", *(f"{neck}, ms" for neck in necks)]
    head += [f"ratio {neck}" for neck in others] + [f"{neck}, MB" for neck in necks]
    lines = []
    fields = ("scale", "part", "runtime", "precision", "imgsz", "batch")
    for key, group in _groups(rows, itemgetter(*fields)).items():
        scale, part, runtime, precision, size, batch = key
        row = {r["neck"]: r for r in group}
        cells = [f"{scale or ''} {part}".strip(), _way(runtime, precision), str(size), str(batch)]
        cells += [_milliseconds(row[n]) if n in row else "-" for n in necks]
        cells += [_ratio(row[n]) if n in row else "-" for n in others]
        cells += [f"{row[n]['peak_memory_mb']:.0f}" if n in row else "-" for n in necks]
        lines.append(cells)
    return markdown_table(head, lines)


def _groups(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    result: dict[Key, list[Row]] = {}
    for row in rows:
        result.setdefault(key(row), []).append(row)
    return result


def _way(runtime: str, precision: str) -> str:
    return f"{TITLES.get(runtime, runtime)} {precision}"


def _milliseconds(row: Row) -> str:
    return "{median_ms:.2f} ({p10_ms:.2f}-{p90_ms:.2f})".format(**row)


def _ratio(row: Row) -> str:
    mark = " ?" if row["unsteady"] else ""
    return "{ratio_to_baseline:.2f} ({ratio_p10:.2f}-{ratio_p90:.2f})".format(**row) + mark
