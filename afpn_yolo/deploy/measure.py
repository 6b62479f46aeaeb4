"""Run a benchmark: case by case, each in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from torch import nn

from afpn_yolo.compare.plan import Candidate
from afpn_yolo.deploy.cases import Case
from afpn_yolo.deploy.convert import Subject, size_of
from afpn_yolo.deploy.machine import is_unsteady, load, machine, versions
from afpn_yolo.deploy.table import Row
from afpn_yolo.deploy.timing import summary
from afpn_yolo.upstream.log import one_line, quiet
from afpn_yolo.upstream.models import empty_model, load_model
from afpn_yolo.upstream.weights import randomize


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
        self._models: dict[Candidate, nn.Module] = {}
        self._others = load()  # before our own work is a part of it

    def measure(self, cases: Sequence[Case]) -> Iterator[tuple[Case, list[Row]]]:
        """Measure one case after the other, and give a row for each of its necks.

        Raises:
            BenchmarkError: When an export or a run fails.
            OSError, ValueError: When a model can't be opened.
        """
        for case in cases:  # before hours have passed
            for neck in case.necks:
                self._model(neck)
        for shared, group in groupby(cases, attrgetter("necks", "part", "imgsz", "batch")):
            with tempfile.TemporaryDirectory() as folder:
                subjects = [
                    Subject(self._model(neck), *shared[1:], Path(tempfile.mkdtemp(dir=folder)))
                    for neck in shared[0]
                ]
                for case in group:
                    yield case, self._rows(case, subjects)

    def _model(self, neck: Candidate) -> nn.Module:
        if neck not in self._models:
            if neck.is_checkpoint:
                self._models[neck] = load_model(neck.model).float()
            else:
                self._models[neck] = randomize(empty_model(neck.model, scale=neck.scale))
        return self._models[neck]

    def _rows(self, case: Case, subjects: Sequence[Subject]) -> list[Row]:
        models, costs = [], []
        for neck, subject in zip(case.necks, subjects, strict=True):
            try:
                with quiet():
                    path = subject.file(case.runtime, case.precision)
                    costs.append({**subject.cost(), "bytes": size_of(path)})
            except Exception as error:  # each format's library has its own kinds
                what = f"{case.name}, {neck.name}: the export failed: {one_line(error)}"
                raise BenchmarkError(what) from error
            models.append({"path": str(path), "shapes": subject.shapes})
        times = self._job(case, models, self._runs)["times"]
        self._others = max(self._others, load() - self._threads)
        alone = [self._job(case, [model], 0) for model in models]
        baseline = times[case.necks.index(case.baseline)]
        rows: list[Row] = []
        for i, neck in enumerate(case.necks):
            figures = summary(times[i], baseline)
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
                **costs[i],
                "peak_memory_mb": round(alone[i]["peak_mb"], 1),
                "base_memory_mb": round(alone[i]["base_mb"], 1),
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
        # Without runs it is about memory, which a model needs when it runs.
        job |= {"runs": runs, "warmup": self._warmup if runs else max(1, self._warmup)}
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
