"""The folder of a training: its checkpoints stay whole, whatever happens to process or disk."""

from __future__ import annotations

import csv
import os
import pickletools
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from ultralytics.utils import RANK

from afpn_yolo.base.errors import quoted
from afpn_yolo.base.files import PartPath, written_whole
from afpn_yolo.layers import CHECKPOINT_CLASSES


class CheckpointPath(type(Path())):  # type: ignore[misc]
    """A path whose `write_bytes` leaves the new content or the old, never a part of the new.

    Ultralytics writes checkpoints with `Path.write_bytes`, which empties the file first. Paths made
    from this one with `/` are of its kind, too.
    """

    def write_bytes(self, data: Any) -> int:
        """Write, or raise an `OSError` that names the file and says what is left of it."""
        try:
            with written_whole(Path(self)) as part, part.open("wb") as file:
                count = file.write(data)
                file.flush()
                os.fsync(
                    file.fileno()
                )  # or the new name could outlive a power cut, and not the data
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; {self._left()}", str(self)) from error
        return count

    def _left(self) -> str:
        """What is there to go on from, and how."""
        whole = "it is still the whole one of an epoch before"
        state = whole if self.exists() else "it is missing"
        last = self.with_name("last.pt")  # it is written first, so it is never the older one
        found = last if last.exists() else self
        if not found.exists():
            return state
        return (
            f"{state}. Make room or let it be written, then go on with "
            f"`yolo train resume {quoted(f'model={found}')}`"
        )

    def __reduce__(self) -> Any:
        """Go into a pickle as an ordinary path: some releases keep it in their checkpoints."""
        return Path(self).__reduce__()


@dataclass(frozen=True)
class Whole:
    """A checkpoint that a training can go on from, `epochs` epochs after its start."""

    path: Path
    epochs: int


def resumable(folder: Path) -> list[Whole]:
    """The checkpoints in a folder that a training can go on from, the furthest first."""
    epochs = {path: _epoch(path) for path in sorted(folder.glob("*.pt"))}
    found = [Whole(path, epoch + 1) for path, epoch in epochs.items() if epoch >= 0]
    return sorted(found, key=lambda whole: (-whole.epochs, whole.path.name != "last.pt"))


def _epoch(path: Path) -> int:
    """The epoch that a checkpoint says it is of, if it is whole; else -1, as after the last one.

    It is read off the pickle's operations, none of which is run: the file may be anybody's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                return -1
            (name,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
            operations = pickletools.genops(archive.read(name))
            for _, value, _ in operations:
                if value == "epoch":
                    break
            for operation, value, _ in operations:
                if operation.name.startswith("BININT") and isinstance(value, int):
                    return value
                if operation.name not in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
                    break
    except Exception:  # what is no checkpoint fails in many ways
        pass
    return -1


class CutShortError(TypeError, ValueError):
    """Both are expected of a wrong file: TypeError by Ultralytics, ValueError by ours."""


def cut_short(path: Path) -> bool:
    """Whether a checkpoint's end is missing: it is a zip file, whose directory is written last."""
    if not path.is_file() or zipfile.is_zipfile(path):
        return False
    with path.open("rb") as file:
        return file.read(2) in (b"", b"P", b"PK")


def remedy(path: Path) -> str:
    """What to do about a checkpoint that was cut short, in a sentence or two."""
    fault = f"{path} is cut short or damaged: its writing, or its copying, was broken off."
    others = resumable(path.parent)
    if not others:
        return f"{fault} Beside it there is no checkpoint to go on from"
    listed = ", ".join(f"{other.path.name} (epoch {other.epochs})" for other in others)
    return (
        f"{fault} Whole checkpoints beside it: {listed}. "
        f"Go on with `yolo train resume {quoted(f'model={others[0].path}')}`"
    )


def forget_epochs(results: Path, epochs: int) -> None:
    """Take out of a `results.csv` what a training that goes on after `epochs` epochs writes again.

    The row of an epoch is written before its checkpoint, so it may be there, or half of it, without
    one; and there are more of them when an older checkpoint is gone on from.
    """
    if not results.is_file():
        return
    with results.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    kept = [row for row in rows[1:] if len(row) >= len(rows[0]) and _number(row[0]) <= epochs]
    if len(kept) < len(rows) - 1:
        with written_whole(results) as part, part.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([rows[0], *kept])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def forget_parts(folder: Path) -> None:
    """Remove what killed processes left of checkpoints that they were writing."""
    for part in folder.glob("*.pt.*.part"):
        part.unlink(missing_ok=True)


def explain_damage(tasks: ModuleType) -> None:
    """Make the error about a checkpoint that was cut short say what the training can go on from."""
    load: Callable[..., Any] = tasks.torch_safe_load

    @wraps(load)
    def torch_safe_load(weight: str | Path, *args: Any, **kwargs: Any) -> Any:
        try:
            return load(weight, *args, **kwargs)
        except Exception as error:
            if not cut_short(Path(weight)):
                raise
            raise CutShortError(remedy(Path(weight))) from error

    tasks.torch_safe_load = torch_safe_load  # type: ignore[attr-defined]


def keep_run(trainer: Any) -> None:
    """Make a training's checkpoints appear whole or not at all, where the model has layers of ours.

    A callback, called once the trainer is about to start its first epoch, or the first after the
    checkpoint that it goes on from. Stock models are trained as ever.
    """
    if not any(isinstance(module, CHECKPOINT_CLASSES) for module in trainer.model.modules()):
        return
    trainer.wdir = CheckpointPath(trainer.wdir)
    trainer.last, trainer.best = trainer.wdir / "last.pt", trainer.wdir / "best.pt"
    if RANK in (-1, 0):
        forget_parts(trainer.wdir)
        if trainer.resume:
            forget_epochs(trainer.csv, trainer.start_epoch)
    from ultralytics.engine import trainer as engine  # loaded by now; slow to import without need

    strip = engine.strip_optimizer
    if hasattr(strip, "afpn_yolo"):
        return

    @wraps(strip)
    def strip_optimizer(f: Any, *args: Any, **kwargs: Any) -> Any:
        """Take the optimizer out of a file at the end, and replace the file whole."""
        if args or "s" in kwargs or not isinstance(f, CheckpointPath):
            return strip(f, *args, **kwargs)
        with written_whole(Path(f)) as part:
            result = strip(f, PartPath(part), **kwargs)
            if not part.exists():  # it has warned that it can't read the file
                shutil.copyfile(f, part)
            return result

    strip_optimizer.afpn_yolo = True  # type: ignore[attr-defined]
    engine.strip_optimizer = strip_optimizer
