"""A whole comparison: every run once, results after each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.base.yaml_rows import backbone_rows
from afpn_yolo.compare.plan import Candidate, Conditions, Run
from afpn_yolo.compare.progress import Progress
from afpn_yolo.compare.results import ENDS, Results
from afpn_yolo.compare.runner import carry_out
from afpn_yolo.compare.settings import frozen_rows
from afpn_yolo.compare.store import Records
from afpn_yolo.evaluation.fingerprint import data_digest, tensor_digest
from afpn_yolo.upstream.locks import share
from afpn_yolo.upstream.log import announce, quiet
from afpn_yolo.upstream.models import load_model, read_tensors, save_checkpoint
from afpn_yolo.upstream.scales import read_model_yaml
from afpn_yolo.upstream.train import backbone_of


class Comparison:
    """Necks x seeds under one set of conditions.

    Args:
        necks: What is compared; the first of each scale is what the others are held against.
        seeds: One run of every neck for each.
        data, epochs, imgsz, batch, extra: As in `Conditions`.
        backbones: A `.pt` or `.npz` for each scale, in the order in which `necks` has them.
        out: Folder of the results.
        folder: Folder of the trainings.
        name: Name of the comparison, for files.

    Raises:
        ValueError: When a backbone doesn't fit, a YAML has not the scale, or `out` holds a
            comparison of this name under other conditions, or a run of the same name of another
            model.
        EvaluationError: When the data can't be opened and a run is still to be done.
    """

    def __init__(
        self,
        necks: Sequence[Candidate],
        seeds: Sequence[int],
        data: str,
        epochs: int,
        imgsz: int,
        batch: int,
        backbones: Sequence[Path],
        extra: dict[str, Any],
        out: Path,
        folder: Path,
        name: str,
    ) -> None:
        self.necks = [_told_apart(neck) for neck in necks]
        _check_models(self.necks, frozen_rows(extra))
        # Seeds outside: after the first round every neck has been seen once.
        self.runs = [Run(neck, seed) for seed in dict.fromkeys(seeds) for neck in self.necks]
        self.out = out
        self.name = name
        self.folder = folder / name
        made = self._backbones(backbones)
        self.backbones = {scale: path for scale, (path, _) in made.items()}
        digests = {scale or "": digest for scale, (_, digest) in made.items()}
        self.conditions = Conditions(data, epochs, imgsz, batch, digests, extra)
        self.records = Records(out / f"{name}.json", self.conditions)
        finished = [self.records.has(run) for run in self.runs]
        try:
            digest = data_digest(data, ("train", str(extra.get("split", "val"))))
        except EvaluationError:
            if not all(finished):  # what no run can do without
                raise
            return  # the table needs no data
        self.conditions = replace(self.conditions, data_digest=digest)
        self.records = Records(self.records.path, self.conditions)

    def _backbones(self, sources: Sequence[Path]) -> dict[str | None, tuple[Path, str]]:
        """Bring each scale's tensors into the form that Ultralytics takes; with their digest."""
        untrained = [neck for neck in self.necks if not neck.model.endswith(".pt")]
        scales = list(dict.fromkeys(neck.scale for neck in untrained))
        if sources and len(sources) != len(scales):
            raise ValueError(
                f"--backbone: {len(sources)} files for {len(scales)} scales of YAMLs; give one each"
            )
        result: dict[str | None, tuple[Path, str]] = {}
        for source, scale in zip(sources, scales, strict=False):
            for neck in (n for n in untrained if n.scale == scale):
                backbone = backbone_of(source, neck.model, neck.scale)
            digest = tensor_digest(backbone.state_dict())
            # By its content: a process that uses another one may be at work in this folder.
            path = self.folder / f"backbone-{digest[:12]}.pt"
            if not path.exists():  # Windows replaces no file that a training has open
                save_checkpoint(backbone, path)
            result[scale] = path, digest
        return result

    def starts_from_random(self) -> bool:
        """Whether a run that is still to be done trains a YAML without any given weights."""
        fresh = (run for run in self.runs if not run.neck.model.endswith(".pt"))
        return not self.backbones and not all(self.records.has(run) for run in fresh)

    def carry_out(
        self, device: str | None = None, workers: int = 8, bar: bool = False
    ) -> list[str]:
        """Do every run that isn't done, and write the results after each.

        Args:
            device: As `yolo` takes it.
            workers: Processes that load data, per GPU.
            bar: Show one bar with the time left, in place of what Ultralytics tells of each run.

        Returns:
            A line for every run that failed. The others have been done all the same.
        """
        failed: list[str] = []
        runs = {run.name: run for run in self.runs}

        def attempt(name: str) -> None:
            try:
                self._carry_out(runs[name], device, workers, progress, bar)
            except Exception as error:  # one neck's failure must not cost the others
                failed.append(f"{name}: {type(error).__name__}: {error}")
                announce(failed[-1])

        with Progress(len(self.runs), self.conditions.epochs, bar) as progress:
            share({name: self.folder / name for name in runs}, attempt)
        self.write()
        return failed

    def _carry_out(
        self, run: Run, device: str | None, workers: int, progress: Progress, bar: bool
    ) -> None:
        """Do one run, unless it is done. Its folder is this process's."""
        finished = self.records.finished()
        done = sum(one.name in finished for one in self.runs)
        progress.run(run.name, done)
        if self.records.has(run):
            return
        announce(f"run {done + 1} of {len(self.runs)}: {run.name}")
        backbone = self.backbones.get(run.neck.scale)
        folder = self.folder / run.name
        with quiet() if bar else nullcontext():
            record = carry_out(
                run, self.conditions, folder, backbone, device, workers, progress.update
            )
        self.records.add(run, record)
        self.write()

    def results(self) -> Results:
        """What there is so far."""
        return Results.of(self.necks, self.records.finished(), asdict(self.conditions))

    def files(self) -> list[Path]:
        """The results that there are."""
        paths = [self.out / f"{self.name}{end}" for end in (".json", *ENDS)]
        return [path for path in paths if path.exists()]

    def write(self) -> None:
        """Write table and figures from the finished runs, other processes' too."""
        with self.records.lock:
            results = self.results()
            if results.table:
                self.records.conclude(results.verdict, results.remarks)
                results.write(self.out, self.name)


def _check_models(necks: Sequence[Candidate], frozen: Sequence[int]) -> None:
    """Raise `ValueError` for a scale that would not be built, and for rows frozen in a neck."""
    for neck in necks:
        if not neck.model.endswith(".pt"):
            backbone = len(read_model_yaml(neck.model, neck.scale)["backbone"])
        elif frozen and Path(neck.model).is_file():
            backbone = backbone_rows(load_model(neck.model))
        else:  # a checkpoint that is still to be loaded
            continue
        if wrong := [row for row in frozen if not 0 <= row < backbone]:
            raise ValueError(
                f"--set freeze: row {wrong[0]} is no row of {neck.label}'s backbone, which has "
                f"{backbone}; the rows after it are others in each neck"
            )


def _told_apart(neck: Candidate) -> Candidate:
    """A `.pt` that is here gets the digest of its tensors; one that is still to be loaded, none."""
    is_here = neck.model.endswith(".pt") and Path(neck.model).is_file()
    return replace(neck, digest=tensor_digest(read_tensors(Path(neck.model)))) if is_here else neck
