"""Do the runs of a comparison, each once, and store their results: of any kind of detector."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

from afpn_yolo.base.files import write_json
from afpn_yolo.compare.plan import Run, differences
from afpn_yolo.compare.results import ENDS, Results
from afpn_yolo.compare.store import Store
from afpn_yolo.evaluation.records import Record, Result
from afpn_yolo.upstream.locks import share
from afpn_yolo.upstream.log import announce, quiet
from afpn_yolo.upstream.train import training_versions

AfterEpoch: TypeAlias = Callable[[], object]
Train: TypeAlias = Callable[[Run, Path, AfterEpoch], Result]
"""Trains a run in its folder, from wherever an earlier call was stopped, and evaluates it. It calls
the third argument after each epoch."""

REMEDY = "choose another --name, or remove that folder"


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

    @cached_property
    def store(self) -> Store:
        """The finished runs."""
        path = self.out / f"{self.name}.json"
        return Store(path, lambda records: self.results(records).verdict)

    def check(self) -> list[Run]:
        """The runs that are still to be done.

        Raises:
            ValueError: When finished runs of this name were made under other conditions.
        """
        finished = self.store.check(self.runs)
        return [run for run in self.runs if run.name not in finished]

    def results(self, records: Mapping[str, Record] | None = None) -> Results:
        """What the finished runs of these rows show; those in the store if none are given."""
        necks = dict.fromkeys(run.neck for run in self.runs)
        return Results.of(necks, self.store.records() if records is None else records, self.judged)

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
            with self.store.lock:
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
        with self.store.lock:
            records = self.store.add(run, record)
            self.results(records).write_markdown(self.out, self.name)


def _keep_to(folder: Path, run: Run) -> dict[str, Any]:
    """Write down, and return, what a folder is for, and the versions that it is trained with.

    Raises:
        ValueError: When it holds a run under other conditions, or of another model.
    """
    path = folder / "conditions.json"
    conditions, versions = dict(run.conditions), [training_versions()]
    if any(folder.rglob("*.pt")):  # or nothing has been trained under what stood there before
        if not path.exists():
            raise ValueError(f"{folder} holds a run of unknown conditions; {REMEDY}")
        before = json.loads(path.read_text(encoding="utf-8"))
        if different := differences(before["conditions"], conditions):
            raise ValueError(
                f"{folder} holds a run under other conditions ({'; '.join(different)}); {REMEDY}"
            )
        if versions[0] in before["versions"]:
            versions = []
        versions = before["versions"] + versions
    begun = {"conditions": conditions, "versions": versions}
    write_json(path, begun)
    return begun
