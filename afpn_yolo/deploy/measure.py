"""Run a benchmark, case by case in processes of their own, and make tables of what they give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, TypedDict

from torch import nn

from afpn_yolo.base import markdown_table
from afpn_yolo.compare.plan import Candidate
from afpn_yolo.deploy.cases import TITLES, Case
from afpn_yolo.deploy.convert import Subject, size_of
from afpn_yolo.deploy.machine import is_unsteady, load, machine, versions, warnings
from afpn_yolo.deploy.timing import summary
from afpn_yolo.upstream.log import one_line, quiet
from afpn_yolo.upstream.models import empty_model, load_model
from afpn_yolo.upstream.weights import randomize

TIME = "{median_ms:.2f} ({p10_ms:.2f}-{p90_ms:.2f})"
RATIO = "{ratio_to_baseline:.2f} ({ratio_p10:.2f}-{ratio_p90:.2f})"


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


class BenchmarkError(RuntimeError):
    """A measurement failed; the message names the case."""


class Benchmark:
    """Measures cases.

    Args:
        runs: Timed rounds of a case.
        warmup: Rounds before them.
        threads: Threads of every runtime.
    """

    def __init__(self, runs: int, warmup: int, threads: int) -> None:
        self._runs, self._warmup, self._threads = runs, warmup, threads
        self._others = load()  # before our own work is a part of it

    def measure(self, cases: Sequence[Case]) -> Iterator[tuple[Case, list[Row]]]:
        """Measure one case after the other, and give a row for each of its necks.

        Raises:
            BenchmarkError: When an export or a run fails.
            OSError, ValueError: When a model can't be opened; before hours have passed.
        """
        necks = dict.fromkeys(neck for case in cases for neck in case.necks)
        models = {neck: open_model(neck) for neck in necks}
        for shared, group in groupby(cases, attrgetter("necks", "part", "imgsz", "batch")):
            with tempfile.TemporaryDirectory() as folder:
                subjects = [
                    Subject(models[neck], *shared[1:], Path(tempfile.mkdtemp(dir=folder)))
                    for neck in shared[0]
                ]
                for case in group:
                    yield case, self._rows(case, subjects)

    def _rows(self, case: Case, subjects: Sequence[Subject]) -> list[Row]:
        models, costs = [], []
        for neck, subject in zip(case.necks, subjects, strict=True):
            try:
                with quiet():
                    path = subject.file(case.runtime, case.precision)
                    costs.append({**subject.cost, "bytes": size_of(path)})
            except Exception as error:  # each format's library has its own kinds
                what = f"{case.name}, {neck.name}: the export failed: {one_line(error)}"
                raise BenchmarkError(what) from error
            models.append({"path": str(path), "shapes": subject.shapes})
        times = self._job(case, models, self._runs)["times"]
        self._others = max(self._others, load() - self._threads)
        baseline = times[case.necks.index(case.baseline)]
        rows = []
        for neck, model, taken, cost in zip(case.necks, models, times, costs, strict=True):
            alone = self._job(case, [model], 1)  # for its memory
            figures = summary(taken, baseline)
            row: Any = {
                "neck": neck.label,
                "scale": neck.scale,
                "part": case.part,
                "runtime": case.runtime,
                "precision": case.precision,
                "imgsz": case.imgsz,
                "batch": case.batch,
                **figures,
                "unsteady": is_unsteady(figures),
                **cost,
                "peak_memory_mb": round(alone["peak_mb"], 1),
                "base_memory_mb": round(alone["base_mb"], 1),
                "runs": self._runs,
                "warmup": self._warmup,
                "threads": self._threads,
                "load": round(self._others, 2),
                "baseline": case.baseline.label,
                "model": neck.file,
                "machine": machine(),
                "versions": versions(),
            }
            rows.append(row)
        return rows

    def _job(self, case: Case, models: list[dict[str, Any]], runs: int) -> dict[str, Any]:
        """Run one process of `worker`."""
        job = {"runtime": case.runtime, "threads": self._threads, "models": models}
        job |= {"runs": runs, "warmup": self._warmup}
        process = subprocess.run(
            [sys.executable, "-m", "afpn_yolo.deploy.worker"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(self._threads)},
        )
        if process.returncode:
            last = process.stderr.strip().splitlines()[-1:] or ["it says nothing"]
            raise BenchmarkError(f"{case.name}: exit code {process.returncode}: {last[0]}")
        answer: dict[str, Any] = json.loads(process.stdout)
        return answer


def open_model(neck: Candidate) -> nn.Module:
    """A checkpoint in float32, or a YAML's model with random weights."""
    if neck.is_checkpoint:
        return load_model(neck.model).float()
    return randomize(empty_model(neck.model, scale=neck.scale))


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
        f"Milliseconds: median (10th-90th percentile) of {first['runs']} calls after "
        f"{first['warmup']} to warm up; the necks' calls alternate. Ratio: of the medians to "
        f"{first['baseline']}'s (10th-90th percentile over pairs of neighbouring calls, `?` where "
        "these are too far apart). Memory: peak of a process that runs this model alone, with "
        "interpreter and runtime. GFLOPs: of one image, unfused.",
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
    for key, group in _groups(rows, "neck", "scale", "part").items():
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
    groups = _groups(rows, "scale", "part", "runtime", "precision", "imgsz", "batch")
    for (scale, part, runtime, precision, size, batch), group in groups.items():
        row = {r["neck"]: r for r in group}
        cells = [f"{scale or ''} {part}".strip(), _way(runtime, precision), str(size), str(batch)]
        cells += [TIME.format(**row[n]) if n in row else "-" for n in necks]
        cells += [_ratio(row[n]) if n in row else "-" for n in others]
        cells += [f"{row[n]['peak_memory_mb']:.0f}" if n in row else "-" for n in necks]
        lines.append(cells)
    return markdown_table(head, lines)


def _groups(rows: Sequence[Row], *fields: str) -> dict[tuple[Any, ...], list[Any]]:
    result: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        result.setdefault(itemgetter(*fields)(row), []).append(row)
    return result


def _way(runtime: str, precision: str) -> str:
    return f"{TITLES[runtime]} {precision}"


def _ratio(row: Row) -> str:
    return RATIO.format(**row) + " ?" * row["unsteady"]
