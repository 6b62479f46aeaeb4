"""Do the runs of a comparison, each once, and store their results: of any kind of detector."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from filelock import FileLock
from tqdm import tqdm

from afpn_yolo.base.files import write_json
from afpn_yolo.compare.plan import Run, differences
from afpn_yolo.compare.results import ENDS, Results, read_comparison
from afpn_yolo.compare.verdict import judge, pending
from afpn_yolo.evaluation.records import MODEL, ComparisonFile, Record, Result, Row
from afpn_yolo.upstream.locks import lock_of, share
from afpn_yolo.upstream.log import announce, quiet
from afpn_yolo.upstream.train import training_versions

AfterEpoch: TypeAlias = Callable[[], object]
Train: TypeAlias = Callable[[Run, Path, AfterEpoch], Result]
"""Trains a run in its folder, from wherever an earlier call was stopped, and evaluates it. It calls
the third argument after each epoch."""

REMEDY = "choose another --name, or remove it"


@dataclass(frozen=True)
class Comparison:
    """Runs under equal conditions. Nothing is read or written before `check` or `run`.

    Attributes:
        name: Its files are `NAME.json`, `.md`, `.html` and two PNGs in the folder `out`.
        folder: Has a folder for the training of each run.
        runs: What is to be done, in this order.
        judged: Whether a verdict is given, for which a model without a neck is needed.
    """

    name: str
    out: Path
    folder: Path
    runs: Sequence[Run]
    train: Train
    judged: bool = True

    @property
    def path(self) -> Path:
        """The finished runs: one JSON file, which appears with the first of them."""
        return self.out / f"{self.name}.json"

    @cached_property
    def lock(self) -> FileLock:
        """Held while a process reads or writes this file, or what is derived from it."""
        return lock_of(self.path)

    def content(self) -> ComparisonFile:
        """The whole file; raises ValueError when it is no comparison of ours."""
        if not self.path.exists():
            return {"runs": []}
        with self.lock:  # Windows can't replace a file while somebody reads it
            return read_comparison(self.path)

    def records(self) -> dict[str, Record]:
        """Records of the finished runs by name, in the order in which they ended."""
        return {record["run"]: record for record in self.content()["runs"]}

    def check(self) -> list[Run]:
        """The runs that are still to be done.

        Raises:
            ValueError: When a finished run was made under other conditions: of one row all of them
                must be the same, of different rows all but the model.
        """
        records = self.records()
        for run, record in product(self.runs, records.values()):
            before, now = record["conditions"], run.conditions
            if (record["label"], record["scale"]) != (run.neck.label, run.neck.scale):
                before, now = {**before, MODEL: None}, {**now, MODEL: None}
            if different := differences(before, now):
                raise ValueError(
                    f"{self.path}: {record['run']} was made under other conditions "
                    f"({'; '.join(different)}); {REMEDY}"
                )
        return [run for run in self.runs if run.name not in records]

    def add(self, record: Record) -> None:
        """Store the record of a finished run, and write the table anew.

        Raises:
            ValueError: As `check`; another process may have finished a run meanwhile.
        """
        with self.lock:
            self.check()
            content = self.content()
            runs = [one for one in content["runs"] if one["run"] != record["run"]]
            write_json(self.path, content | {"runs": [*runs, record], "verdict": None})
            self.results().write_markdown(self.out, self.name)

    def results(self) -> Results:
        """What the finished runs of these rows show; after the last one, with the verdict."""
        necks, records = dict.fromkeys(run.neck for run in self.runs), self.records()
        finished = sum(run.name in records for run in self.runs)
        return Results.of(necks, records, partial(self._judge, finished))

    def _judge(self, finished: int, table: Sequence[Row]) -> dict[str, Any] | None:
        """Give the verdict, store it, and count it unless these runs have had theirs."""
        if not self.judged:
            return None
        if finished < len(self.runs):
            return pending(finished, len(self.runs))
        with self.lock:
            content = self.content()
            verdicts, runs = content.get("verdicts", []), len(content["runs"])
            if verdicts[-1:] != [runs]:
                verdicts = [*verdicts, runs]
            verdict = judge(table, len(verdicts))
            judged: ComparisonFile = {**content, "verdicts": verdicts, "verdict": verdict}
            if judged != content:
                write_json(self.path, judged)
        return verdict

    def files(self) -> list[Path]:
        """The files of results that there are."""
        paths = [self.out / f"{self.name}{end}" for end in (".json", *ENDS)]
        return [path for path in paths if path.exists()]

    def run(self, bar: bool = False) -> list[str]:
        """Do every run that isn't done. JSON and Markdown are written after each.

        Page and figures are drawn at the end, or when it is interrupted. Several processes share
        the runs. `bar` shows the time left, in place of Ultralytics' messages.

        Returns:
            A line for every run that failed. The others have been done all the same.

        Raises:
            ValueError: As `check`.
        """
        self.check()
        failures: list[str] = []
        runs = {run.name: run for run in self.runs}

        def attempt(name: str) -> None:
            try:
                self._do(runs[name], progress, bar)
            except Exception as error:  # one neck's failure must not cost the others
                failures.append(f"{name}: {type(error).__name__}: {error}")
                announce(failures[-1])

        try:
            with tqdm(desc="Comparing", unit=" epochs", disable=None if bar else True) as progress:
                share({name: self.folder / name for name in runs}, attempt)
        finally:
            with self.lock:
                results = self.results()
                if results.table:
                    results.write(self.out, self.name)
        return failures

    def _do(self, run: Run, progress: Any, bar: bool) -> None:
        """Do one run, unless it is done; this process holds its folder's lock."""
        missing = self.check()
        if run not in missing:
            return
        done = len(self.runs) - len(missing)
        progress.set_description(f"{done} of {len(self.runs)} runs done, {run.name}")
        # Epochs of other processes shorten what is left, but say nothing of this one's speed.
        progress.total = progress.n + sum(other.epochs for other in missing)
        progress.refresh()
        announce(f"run {done + 1} of {len(self.runs)}: {run.name}")
        folder = self.folder / run.name
        begun = _keep_to(folder, run)
        with quiet() if bar else nullcontext():
            result = self.train(run, folder, progress.update)
        record: Record = {
            "run": run.name,
            **asdict(run.neck),  # type: ignore[typeddict-item]
            "seed": run.seed,
            "conditions": begun["conditions"],
            **result,
            "trained_with": begun["versions"],
        }
        self.add(record)


def _keep_to(folder: Path, run: Run) -> dict[str, Any]:
    """Write down, and return, what a folder is for, and the versions that it is trained with.

    Raises:
        ValueError: When it holds a run under other conditions, or of another model.
    """
    path = folder / "conditions.json"
    begun: dict[str, Any] = {"conditions": dict(run.conditions), "versions": []}
    if any(folder.rglob("*.pt")):  # or nothing has been trained under what stood there before
        if not path.exists():
            raise ValueError(f"{folder} holds a run of unknown conditions; {REMEDY}")
        begun = json.loads(path.read_text(encoding="utf-8"))
        if different := differences(begun["conditions"], run.conditions):
            raise ValueError(
                f"{folder} holds a run under other conditions ({'; '.join(different)}); {REMEDY}"
            )
    if (versions := training_versions()) not in begun["versions"]:
        begun["versions"].append(versions)
    write_json(path, begun)
    return begun
