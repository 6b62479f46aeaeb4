"""Commands work on local data without a look at the network."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import matplotlib
import pytest
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import ASSETS, USER_CONFIG_DIR

from afpn_yolo.upstream.models import save_checkpoint
from tests.lively import export
from tests.processes import COMMANDS, ROOT, TINY, python

SHORT = ("--steps", "2", "--batch", "2", "--imgsz", "64")
TRAIN = ("--epochs", "1", "--imgsz", "64", "--batch", "4", "--workers", "0")
WATCH = ROOT / "tests" / "network"


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, str]:
    """An environment in which every attempt is refused and noted down."""
    notes = tmp_path / "notes.txt"
    notes.touch()
    # Ultralytics fetches this font once, on its own account, before it opens a data set.
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    shutil.copy(font, USER_CONFIG_DIR / "Arial.ttf")
    path = [str(WATCH), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path), "TEST_NETWORK_NOTES": str(notes)}


def attempts(watched: dict[str, str]) -> str:
    return Path(watched["TEST_NETWORK_NOTES"]).read_text()


def test_the_watch_sees_sockets_names_and_installers(
    watched: dict[str, str], tmp_path: Path
) -> None:
    """Also in a process that a process starts; what stays on this machine is allowed."""
    inner = """
import socket, subprocess, sys
allowed = socket.create_server(("127.0.0.1", 0))
socket.create_connection(allowed.getsockname()).close()
for attempt in (
    lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
    lambda: socket.getaddrinfo("example.org", 80),
    lambda: subprocess.run([sys.executable, "-m", "pip", "--version"]),
    lambda: subprocess.run("curl --version", shell=True),
):
    try:
        attempt()
    except OSError:
        print("refused")
"""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    assert python(code, tmp_path, env=watched).count("refused") == 4
    assert len(attempts(watched).splitlines()) == 4


def test_the_stock_commands_with_afpn_and_our_own(
    watched: dict[str, str], lively: Path, small_data: Path, tmp_path: Path
) -> None:
    """All in one interpreter."""
    options = ("imgsz=64", "batch=4", "workers=0", "epochs=1", f"project={tmp_path}", "name=run")
    best = tmp_path / "run" / "weights" / "best.pt"
    seen = ("imgsz=64", f"project={tmp_path}", "name=seen")
    stock = [
        ("train", "model=yolov5n-afpn.yaml", f"data={small_data}", *options),
        ("val", f"model={best}", f"data={small_data}", *options[:3]),
        ("export", f"model={best}", "format=onnx", "imgsz=64"),
        ("predict", f"model={best.with_suffix('.onnx')}", f"source={ASSETS}", *seen),
    ]
    images = small_data.parent / "set" / "images"
    shutil.copy(export(lively, "imgsz=64"), tmp_path / "lively.onnx")
    save_checkpoint(DetectionModel("yolov5n.yaml", verbose=False), tmp_path / "stock.pt")
    commands: list[tuple[str | Path, ...]] = [
        ("evaluate", lively, small_data, "--imgsz", "64"),
        ("fusion", lively, ASSETS / "bus.jpg", "--out", "fusion"),
        ("draw-neck", "-o", "neck.png"),
        ("distill", "stock.pt", images / "train", "-o", "start.pt", *SHORT),
        ("compare", TINY, "--data", small_data, *TRAIN),
        ("detect", "lively.onnx", images / "val", "--out", "drawn"),
    ]
    words = [[str(word) for word in command] for command in commands]
    code = COMMANDS.format(words=stock) + "from afpn_yolo.cli.__main__ import main\n"
    code += f"assert [main(words) for words in {words!r}] == [0] * {len(words)}"
    python(code, tmp_path, env=watched)
    assert attempts(watched) == ""
    assert (tmp_path / "seen" / "bus.jpg").is_file()
    assert cv2.imread(str(next((tmp_path / "drawn").iterdir()))) is not None
