"""A training of `afpn compare` that is killed, or whose disk is full, goes on where it can."""

from __future__ import annotations

import csv
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from afpn_yolo.upstream.train import resumable, train
from tests.processes import TINY, forked

MODEL = str(TINY)
SMALL = {"epochs": 3, "imgsz": 64, "batch": 4, "workers": 0, "plots": False, "verbose": False}
# Places at which a training dies. In `end`, while the optimizer is taken out of the last files, the
# kernel does it, in the middle of a write: with this limit and the signal's own action, a file
# can't grow past 200 kB. `full` is not a death: the disk is full when the checkpoint is written.
SCRIPT = """
import os, resource, signal
from ultralytics import YOLO
place, epoch = {place!r}, {epoch}
batches = 0
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
def batch(trainer):
    global batches
    batches += trainer.epoch + 1 == epoch
    if place == "epoch" and batches == 2:
        die()
def trained(trainer):
    if place == "full" and trainer.epoch + 1 == epoch:
        limit()
def saved(trainer):
    if place == "end" and trainer.epoch + 1 == epoch:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        limit()
def validated(validator):
    if place == "validation" and batches:
        die()
yolo = YOLO({model!r})
yolo.add_callback("on_train_batch_end", batch)
yolo.add_callback("on_train_epoch_end", trained)
yolo.add_callback("on_val_batch_end", validated)
yolo.add_callback("on_model_save", saved)
yolo.train(**{arguments!r})
"""
EXITS = {"epoch": -signal.SIGKILL, "validation": -signal.SIGKILL, "end": -signal.SIGXFSZ, "full": 1}


def last(folder: Path) -> Path:
    return folder / "run" / "weights" / "last.pt"


def results(folder: Path) -> list[dict[str, float]]:
    """The rows of `results.csv`."""
    with (folder / "run" / "results.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "place",
    [*(pytest.param(p, marks=pytest.mark.slow) for p in ("epoch", "validation", "end")), "full"],
)
def test_a_training_that_was_broken_off(place: str, small_data: Path, tmp_path: Path) -> None:
    epoch = 2 if place == "epoch" else 3  # counted from 1
    arguments = {**SMALL, "data": str(small_data), "project": str(tmp_path), "name": "run"}
    code = SCRIPT.format(place=place, epoch=epoch, model=MODEL, arguments=arguments)
    assert forked(code, cwd=tmp_path, fails=True).returncode == EXITS[place]
    assert resumable(last(tmp_path).parent)
    weights = train(MODEL, tmp_path / "run", {}, "cpu")
    assert {row["epoch"] for row in results(tmp_path)} == {1, 2, 3}
    assert train(MODEL, tmp_path / "run", {}, "cpu") == weights  # it is finished


def test_it_goes_on_from_the_furthest_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = []

    class Recorder:
        def __init__(self, model: Path, **_: Any) -> None:
            self.model = model

        def train(self, **arguments: Any) -> None:
            calls.append((self.model, arguments))

    monkeypatch.setattr("afpn_yolo.upstream.train.YOLO", Recorder)
    weights = last(tmp_path).parent
    weights.mkdir(parents=True)
    last(tmp_path).write_bytes(b"half")
    train(MODEL, tmp_path / "run", {"epochs": 9}, "cpu")
    for name, epoch in (("best.pt", 3), ("epoch4.pt", 4), ("done.pt", -1)):
        torch.save({"epoch": epoch, "train_args": {"epochs": 9}}, weights / name)
    torch.save([1], weights / "foreign.pt")
    last(tmp_path).write_bytes((weights / "epoch4.pt").read_bytes()[:-40])
    assert [path.name for path in resumable(weights)] == ["epoch4.pt", "best.pt"]
    train(MODEL, tmp_path / "run", {"epochs": 9}, "cpu")
    (again, arguments), (checkpoint, resumed) = calls
    assert (again, arguments["epochs"]) == (MODEL, 9)
    assert (checkpoint, resumed["resume"]) == (weights / "epoch4.pt", True)
