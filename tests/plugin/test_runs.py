"""A training of `afpn compare` that is killed, or whose disk is full, goes on where it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from afpn_yolo.upstream.train import resumable, train
from tests.interrupted import last, results, train_until
from tests.processes import TINY

MODEL = str(TINY)
SMALL = ("epochs=3", "imgsz=64", "batch=4", "workers=0", "plots=False", "verbose=False")


@pytest.mark.parametrize(
    "place",
    [*(pytest.param(p, marks=pytest.mark.slow) for p in ("epoch", "validation", "end")), "full"],
)
def test_a_training_that_was_broken_off(place: str, small_data: Path, tmp_path: Path) -> None:
    epoch = 2 if place == "epoch" else 3
    train_until(tmp_path, place, epoch, MODEL, f"data={small_data}", *SMALL)
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
