"""A whole comparison: every run once, results after each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from afpn_yolo.base.files import written_whole
from afpn_yolo.compare.carry_out import carry_out
from afpn_yolo.compare.figures import bubbles, curves
from afpn_yolo.compare.plan import Candidate, Conditions, Run
from afpn_yolo.compare.records import Records, claim
from afpn_yolo.compare.report import markdown, rows
from afpn_yolo.upstream.data import open_data
from afpn_yolo.upstream.models import read_tensors
from afpn_yolo.upstream.tell import announce
from afpn_yolo.upstream.train import backbone_checkpoint


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
        ValueError: When a backbone doesn't fit, or `out` holds a comparison of this name under
            other conditions, or a run of the same name of another model.
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
        for run in self.runs:
            self.records.has(run)

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
            part = self.folder / f"backbone{'-' + scale if scale else ''}.{os.getpid()}.pt"
            try:
                for neck in (n for n in untrained if n.scale == scale):
                    backbone_checkpoint(source, neck.file, part)
                digest = _digest(part)
                # By its content: a process that uses another one may be at work in this folder.
                path = part.with_name(f"backbone-{digest[:12]}.pt")
                part.replace(path)
                result[scale] = path, digest
            finally:
                part.unlink(missing_ok=True)
        return result

    def carry_out(self, device: str | None = None, workers: int = 8) -> list[str]:
        """Do every run that isn't done, and write the results after each.

        Returns:
            A line for every run that failed. The others have been done all the same.

        Raises:
            EvaluationError: When the data set can't be opened.
        """
        if not all(self.records.has(run) for run in self.runs):
            open_data(self.conditions.data)  # what no run can do without
        failed = []
        for number, run in enumerate(self.runs, 1):
            folder = self.folder / run.name
            with claim(folder) as mine:
                if not mine:
                    announce(f"{run.name}: another process is at it")
                elif not self.records.has(run):
                    announce(f"run {number} of {len(self.runs)}: {run.name}")
                    try:
                        backbone = self.backbones.get(run.neck.scale)
                        record = carry_out(run, self.conditions, folder, backbone, device, workers)
                    except Exception as error:  # one neck's failure must not cost the others
                        failed.append(f"{run.name}: {type(error).__name__}: {error}")
                        announce(failed[-1])
                    else:
                        self.records.add(run, record)
                        self.write()
        self.write()
        return failed

    def table(self) -> str:
        """The results so far, in Markdown."""
        return markdown(rows(self.necks, self.records.finished()), asdict(self.conditions))

    def files(self) -> list[Path]:
        """The results that there are."""
        names = (".json", ".md", "-bubbles.png", "-curves.png")
        paths = [self.out / f"{self.name}{end}" for end in names]
        return [path for path in paths if path.exists()]

    def write(self) -> None:
        """Write table and figures from the finished runs, other processes' too."""
        with self.records.lock:
            table = rows(self.necks, self.records.finished())
            if not table:
                return
            with written_whole(self.out / f"{self.name}.md") as part:
                part.write_text(self.table(), encoding="utf-8")
            for end, draw in (("bubbles", bubbles), ("curves", curves)):
                with written_whole(self.out / f"{self.name}-{end}.png") as part:
                    draw(table, part)


def _told_apart(neck: Candidate) -> Candidate:
    """A `.pt` that is here gets the digest of its tensors; one that is still to be loaded, none."""
    is_here = neck.model.endswith(".pt") and Path(neck.model).is_file()
    return replace(neck, digest=_digest(Path(neck.model))) if is_here else neck


def _digest(checkpoint: Path) -> str:
    """SHA-256 of a checkpoint's tensors: the file itself has a date in it."""
    digest = hashlib.sha256()
    for name, tensor in sorted(read_tensors(checkpoint).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()
