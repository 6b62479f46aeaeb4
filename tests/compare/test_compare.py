"""Comparisons of necks that are carried out: interrupted, failing, with a backbone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ultralytics import YOLO as Model

from afpn_yolo.compare.plan import Candidate
from afpn_yolo.compare.run import Comparison
from tests.processes import run

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_necks.py"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tensors of a whole model in an .npz; the comparison may take rows 0 to 9 only."""
    path = tmp_path_factory.mktemp("weights") / "whole.npz"
    torch.manual_seed(3)
    tensors = Model("yolov5n.yaml").model.state_dict()
    np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    return path


def command(data: Path, *more: str | Path) -> tuple[str | Path, ...]:
    shape = ("--epochs", "3", "--imgsz", "64", "--batch", "4", "--workers", "0", "--device", "cpu")
    return (sys.executable, SCRIPT, "--data", data, *shape, *more)


def test_compare(small_data: Path, backbone: Path, tmp_path: Path) -> None:
    """Killed in the first run, started again: every run once, the curve whole."""
    words = command(small_data, "--backbone", backbone, "--set", "lr0=0.0", "optimizer=SGD")
    first = tmp_path / "runs" / "compare" / "small" / "PAFPN-n-seed0"
    process = subprocess.Popen(
        [str(word) for word in words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not (first / "weights" / "last.pt").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    run(*words, cwd=tmp_path)
    result = json.loads((tmp_path / "results" / "small.json").read_text())
    assert [r["run"] for r in result["runs"]] == ["PAFPN-n-seed0", "AFPN-n-seed0"]
    assert [len(r["curve"]["AP"]) for r in result["runs"]] == [3, 3]
    assert {p.name for p in (tmp_path / "results").glob("small*")} == {
        "small.json",
        "small.md",
        "small-bubbles.png",
        "small-curves.png",
    }
    # With a learning rate of zero the weights are as they started.
    given = dict(np.load(backbone))
    for row in result["runs"]:
        last = first.with_name(row["run"]) / "weights" / "last.pt"
        weights = {k: v.float().numpy() for k, v in Model(last).model.state_dict().items()}
        taken = {
            int(key.split(".")[1])
            for key, value in given.items()
            if key.endswith("conv.weight")
            and ".dfl." not in key  # a constant
            and key in weights
            and weights[key].shape == value.shape
            and np.allclose(weights[key], value, atol=1e-3)
        }
        assert taken == set(range(10))

    times = {path: path.stat().st_mtime_ns for path in first.parent.rglob("*.pt")}
    again = run(*words, cwd=tmp_path)
    assert "| AFPN-n | 1 |" in again.stdout
    assert {
        path: path.stat().st_mtime_ns
        for path in first.parent.rglob("*.pt")
        if "backbone" not in path.name
    } == {path: t for path, t in times.items() if "backbone" not in path.name}


def test_another_backbone_leaves_that_of_a_running_comparison_alone(
    backbone: Path, small_data: Path, tmp_path: Path
) -> None:
    def begin(source: Path) -> Comparison:
        shape = (str(small_data), 3, 64, 4)
        places = (tmp_path / "results", tmp_path / "runs", "x")
        return Comparison(
            [Candidate("PAFPN", "yolov5.yaml", "n")], [0], *shape, [source], {}, *places
        )

    first = begin(backbone)
    first.records.add(first.runs[0], {"seconds": 1})
    before = first.backbones["n"].read_bytes()
    tensors = {name: array + 1 for name, array in np.load(backbone).items()}
    np.savez(tmp_path / "other.npz", **tensors)
    with pytest.raises(ValueError, match=r"backbone: .* there"):
        begin(tmp_path / "other.npz")
    assert first.backbones["n"].read_bytes() == before


def test_a_backbone_of_another_scale(small_data: Path, backbone: Path, tmp_path: Path) -> None:
    words = command(small_data, "--backbone", backbone, "--scales", "s")
    output = run(*words, cwd=tmp_path, fails=True)
    assert output.returncode == 2
    assert "whole.npz" in output.stderr
    assert "model.0.conv.weight has the shape (16, 3, 6, 6), (32, 3, 6, 6)" in output.stderr
    assert not list(tmp_path.rglob("*.pt"))


def test_a_checkpoint_is_told_apart_by_its_tensors(small_data: Path, tmp_path: Path) -> None:
    def digest(seed: int) -> str | None:
        torch.manual_seed(seed)
        Model("yolov5n.yaml").save(tmp_path / "start.pt")
        neck, places = Candidate("start", str(tmp_path / "start.pt")), (tmp_path, tmp_path, "x")
        comparison = Comparison([neck], [0], str(small_data), 3, 64, 4, [], {}, *places)
        return comparison.necks[0].digest

    assert digest(0) == digest(0)
    assert digest(0) != digest(1)


def test_a_failing_run_does_not_cost_the_others(small_data: Path, tmp_path: Path) -> None:
    (tmp_path / "own3n.yaml").write_text("nc: 3\nbackbone: [[-1, 1, Nonsense, [8]]]\nhead: []\n")
    words = command(small_data, "bad=own3n.yaml", "good=yolov5n-afpn.yaml", "--epochs", "1")
    output = run(*words, cwd=tmp_path, fails=True)
    assert output.returncode == 1
    assert "error: bad-seed0" in output.stderr
    assert "| good | 1 |" in output.stdout
