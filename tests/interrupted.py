"""Trainings that are killed at a chosen place, and what they left."""

from __future__ import annotations

import csv
import signal
from pathlib import Path
from typing import Any

from tests.processes import forked

# Places at which a training dies. In `checkpoint` and `end` the kernel does it, in the middle of a
# write: with this limit and the signal's own action, a file can't grow past 200 kB.
SCRIPT = """
import os, resource, signal, sys
from ultralytics import YOLO
place, epoch, model, arguments = {place!r}, {epoch}, {model!r}, {arguments!r}
state = dict(armed=False, batches=0)
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def batch(trainer):
    state["batches"] += trainer.epoch + 1 == epoch
    if place == "epoch" and state["batches"] == 2:
        die()
def trained(trainer):
    state["armed"] = trainer.epoch + 1 == epoch
    if state["armed"] and place in ("checkpoint", "full"):
        limit()
def limit():
    if place != "full":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
def saved(trainer):
    if state["armed"] and place == "end":
        limit()
def validated(validator):
    if state["armed"] and place == "validation":
        die()
yolo = YOLO(model)
yolo.add_callback("on_train_batch_end", batch)
yolo.add_callback("on_train_epoch_end", trained)
yolo.add_callback("on_val_batch_end", validated)
yolo.add_callback("on_model_save", saved)
yolo.train(**arguments)
"""
SIGNALS = {
    "epoch": signal.SIGKILL,
    "validation": signal.SIGKILL,
    "checkpoint": signal.SIGXFSZ,
    "end": signal.SIGXFSZ,
}
"""What the process must have died of. `end`: while the optimizer is taken out of the last files."""


def last(folder: Path) -> Path:
    return folder / "run" / "weights" / "last.pt"


def train_until(folder: Path, place: str, epoch: int, model: str, *words: str) -> str:
    """Train until the process dies in an epoch, counted from 1; go on if there are no words.

    `full` is not a death: the disk is full when the checkpoint is written.

    Returns:
        What the process wrote.
    """
    arguments: dict[str, Any] = {"resume": True}
    if words:
        pairs = (word.partition("=") for word in words)
        arguments = {key: _value(value) for key, _, value in pairs}
        arguments |= {"project": str(folder), "name": "run"}
    code = SCRIPT.format(place=place, epoch=epoch, model=model, arguments=arguments)
    result = forked(code, cwd=folder, fails=True)
    output = result.stdout + result.stderr
    assert result.returncode == (-SIGNALS[place] if place in SIGNALS else 1), output[-3000:]
    return output


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"True": True, "False": False}.get(text, text)


def results(folder: Path) -> list[dict[str, float]]:
    """The rows of `results.csv`."""
    with (folder / "run" / "results.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
