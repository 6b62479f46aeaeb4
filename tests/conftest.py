"""Fixtures: a private Ultralytics configuration, a small data set, one trained model."""

from __future__ import annotations

import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

# Before anything imports Ultralytics: it reads these once.
os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp(prefix="ultralytics-config-")
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_OFFLINE"] = "true"

from afpn_yolo.shapes import CLASSES, generate
from tests.processes import YOLO, run


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
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(CLASSES))
    yaml.write_text(f"path: {root}\ntrain: images/train\nval: images/val\nnames:\n{names}")
    return yaml


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """The folder in which `yolo train` ran once; weights are in `run/weights`."""
    folder = tmp_path_factory.mktemp("empty")
    command = (YOLO, "train", "model=yolov5n-afpn.yaml", f"data={small_data}", *TRAIN)
    run(*command, "epochs=2", f"project={folder}", "name=run", cwd=folder)
    return folder


@pytest.fixture(scope="session")
def best(trained: Path) -> Path:
    """The checkpoint that this training left."""
    return trained / "run" / "weights" / "best.pt"


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with many and various detections on photographs; four classes."""
    from tests.lively import save_lively  # it imports Ultralytics

    return save_lively("", tmp_path_factory.mktemp("lively") / "lively.pt")


@pytest.fixture(scope="session")
def edge_model(lively: Path) -> Path:
    """The same as ONNX, for 160 x 160 pixels."""
    from tests.lively import export

    # Under a name of its own: the next export of the checkpoint takes the file's place.
    return export(lively, "imgsz=160").rename(lively.with_name("edge.onnx"))
