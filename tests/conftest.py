"""Fixtures: a private Ultralytics configuration, a small data set, one trained model.

Where several workers run the tests (`pytest -n 2`), what is slow to make is made by one of them,
and every worker has a copy of its own, beside which its tests may write.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

# Before anything imports Ultralytics or torch: they read these once.
os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp(prefix="ultralytics-config-")
os.environ["OMP_NUM_THREADS"] = "1"  # or two workers wait for each other's threads
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_OFFLINE"] = "true"

from afpn_yolo.shapes import generate
from tests.processes import YOLO, run
from tests.shared import made_once


def pytest_report_header() -> str:
    """Say which versions a run was with."""
    names = ("ultralytics", "torch", "torchvision", "numpy", "onnx", "onnxruntime")
    return ", ".join(f"{name} {version(name)}" for name in names)


TRAIN = ("imgsz=64", "batch=4", "workers=0", "plots=False", "verbose=False", "deterministic=True")


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML of a set of twelve pictures."""
    root = generate(tmp_path_factory.mktemp("data") / "set", train=8, val=4, size=160)
    yaml = root.parent / "small.yaml"
    yaml.write_text(f"path: {root}\n{(root / 'data.yaml').read_text()}")
    return yaml


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """A copy of the folder in which `yolo train` ran once; weights are in `run/weights`."""

    def train(folder: Path) -> None:
        command = (YOLO, "train", "model=yolov5n-afpn.yaml", f"data={small_data}", *TRAIN)
        run(*command, "epochs=2", f"project={folder}", "name=run", cwd=folder, cold=True)

    return _copy(made_once("trained", train), tmp_path_factory)


def _copy(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(folder, tmp_path_factory.mktemp(folder.name) / folder.name))


@pytest.fixture(scope="session")
def best(trained: Path) -> Path:
    """The checkpoint that this training left."""
    return trained / "run" / "weights" / "best.pt"


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with many and various detections on photographs; four classes."""
    from tests.lively import save_lively  # it imports Ultralytics

    folder = made_once("lively", lambda folder: save_lively("", folder / "lively.pt"))
    return _copy(folder, tmp_path_factory) / "lively.pt"


@pytest.fixture(scope="session")
def edge_model(lively: Path) -> Path:
    """The same as ONNX, for 160 x 160 pixels."""
    from tests.lively import export

    # Under a name of its own: the next export of the checkpoint takes the file's place.
    return export(lively, "imgsz=160").rename(lively.with_name("edge.onnx"))
