"""Every mistake of the table `bad_input.yaml` gets the message that it lists.

In the YAML a case has `mistake`, `command`, `says` (`…` stands for anything), and as needed:
`files`, what is different in the folder (a text, an image, or null for a file that is removed);
`row`, row 4 of a model YAML, instead of `files` and `command`; `who` says it; the exit `code` (2);
`absent`, a package that is not installed.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import re
import shlex
import shutil
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER

from afpn_yolo.cli.__main__ import main as afpn
from afpn_yolo.edge.__main__ import main as edge
from afpn_yolo.upstream.models import save_checkpoint
from tests.processes import ROOT, python, run
from tests.processes import YOLO as COMMAND

OURS = "afpn_yolo"
BACKBONE = """\
nc: 1
scales:
  n: [0.33, 0.25, 1024]
backbone:
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [256, 3, 2]]
"""
SHORT = {
    "$BACKBONE\n": BACKBONE,
    "$DETECT\n": "  - [[2, 3], 1, Detect, [nc]]\n",
    "$DATA\n": "path: .\ntrain: images/val\nval: images/val\n",
    "$NAMES\n": "names: [person, bus, tie, never there]\n",
    "$BOMB\n": "".join(
        f"lol{i}: &lol{i} [{', '.join([f'*lol{i - 1}' if i else '1'] * 10)}]\n" for i in range(9)
    ),
    "$HALF": "Either the row's sources are not consecutive levels, finest first, or the image's "
    "sides are no multiples of the model's largest stride (32 for a neck that ends at P5)",
}


@dataclass(frozen=True)
class Case:
    """A mistake; the first lines of this file say what the fields mean."""

    group: str
    mistake: str
    command: str
    says: str
    files: dict[str, Any] = field(default_factory=dict)
    who: str = OURS
    code: int = 2
    absent: str | None = None


def spelt_out(text: str) -> str:
    """A text with all that `SHORT` stands for."""
    for short, long in SHORT.items():
        text = text.replace(short, long)
    return text


def read(group: str, entry: dict[str, Any]) -> Case:
    if "row" in entry:
        content = f"$BACKBONE\nhead:\n  - {entry.pop('row')}\n$DETECT\n"
        entry |= {"files": {"yolo3n.yaml": content}, "command": 'YOLO("yolo3n.yaml")'}
    return Case(group, **{**entry, "says": spelt_out(entry["says"])})


TABLE = yaml.safe_load((ROOT / "tests" / "bad_input.yaml").read_text(encoding="utf-8"))
CASES = [read(group, entry) for group, entries in TABLE.items() for entry in entries]
IMAGE, LABEL = "images/val/a.jpg", "labels/val/a.txt"


@pytest.fixture(scope="module")
def models(lively: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the cases open: models, whole and broken."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(lively, folder / "best.pt")
    YOLO(folder / "best.pt").export(format="onnx", imgsz=64, simplify=False)
    save_checkpoint(DetectionModel("yolov5n.yaml", nc=4, verbose=False), folder / "stock.pt")
    save_checkpoint(torch.nn.Linear(2, 2), folder / "linear.pt")
    (folder / "foreign.pt").write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    for suffix in (".pt", ".onnx"):
        (folder / f"cut{suffix}").write_bytes((folder / f"best{suffix}").read_bytes()[:100_000])
    return folder


@pytest.fixture
def folder(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a user is in."""
    for model in models.iterdir():
        (tmp_path / model.name).symlink_to(model)
    (tmp_path / LABEL).parent.mkdir(parents=True)
    (tmp_path / IMAGE).parent.mkdir(parents=True)
    cv2.imwrite(str(tmp_path / IMAGE), np.full((40, 60, 3), 99, np.uint8))
    (tmp_path / LABEL).write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "data.yaml").write_text(SHORT["$DATA\n"] + SHORT["$NAMES\n"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spoil(folder: Path, case: Case) -> None:
    for name, content in case.files.items():
        path = folder / name
        if content is None:
            path.unlink(missing_ok=True)
        elif isinstance(content, dict):
            assert cv2.imwrite(str(path), np.full(content["image"], 99, content["type"]))
        else:
            text = spelt_out(content)
            path.write_text(text, encoding="latin-1" if text.startswith("\xff") else "utf-8")


class Absent:
    """A `sys.meta_path` entry: a package can't be found, whoever else has it."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def remove(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uninstall a package, as far as this test sees."""
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(package), *sys.meta_path])


@contextlib.contextmanager
def logged_to_stderr() -> Iterator[None]:
    """Ultralytics' messages, too, go where `capsys` sees them."""
    handler = logging.StreamHandler(sys.stderr)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


def do(command: str) -> tuple[int, Exception | None]:
    """The exit code, and what was raised."""
    program, *words = shlex.split(command)
    try:
        with logged_to_stderr():
            if program == "afpn":
                return afpn(words), None
            if program == "python":  # -m afpn_yolo.edge
                return edge(words[2:]), None
            eval(command, {"YOLO": YOLO, "zeros": torch.zeros})
            return 0, None
    except SystemExit as end:  # argparse
        return int(end.code or 0), None
    except Exception as error:
        return 2, error


def pattern(message: str) -> str:
    return ".*".join(re.escape(part) for part in message.split("…"))


def check_ours(case: Case, error: Exception | None, text: str) -> None:
    """The sentence and no more; a traceback, if any, ends in our code."""
    if error is not None:
        assert isinstance(error, (ValueError, FileNotFoundError))
        last = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        assert last.is_relative_to(ROOT / "afpn_yolo"), last
        messages = [str(error)]
    else:
        lines = text.splitlines()
        messages = [line.split("error: ", 1)[1] for line in lines if "error: " in line]
        messages = messages or [re.sub(r"^\W*WARNING\W*", "", line) for line in lines]
    assert any(re.fullmatch(pattern(case.says), line) for line in messages), messages


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.absent != "onnxruntime"],
    ids=lambda case: f"{case.group}: {case.mistake}, {case.command}",
)
def test_mistakes(
    case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(folder, case)
    if case.absent:
        remove(case.absent, monkeypatch)
    code, error = do(case.command)
    text = "".join([*capsys.readouterr(), str(error or "")])
    text = text.replace(f"{folder}/", "").replace(str(folder), "")
    assert code == case.code, (error, text)
    if case.who == OURS:
        check_ours(case, error, text)
    else:
        assert re.search(pattern(case.says), text), text


def test_the_yolo_command_ends_with_our_sentence(folder: Path) -> None:
    (case,) = (case for case in CASES if case.mistake == "a fusion with one source")
    spoil(folder, case)
    result = run(COMMAND, "train", "model=yolo3n.yaml", "data=data.yaml", cwd=folder, fails=True)
    assert result.stderr.splitlines()[-1] == f"ValueError: {case.says}"


def test_edge_says_what_it_needs(folder: Path) -> None:
    (case,) = (case for case in CASES if case.absent == "onnxruntime")
    code = (
        "import runpy, sys; sys.modules['onnxruntime'] = None; sys.argv[1:] = ['m.onnx', 'x.png']; "
        "runpy.run_module('afpn_yolo.edge', run_name='__main__', alter_sys=True)"
    )
    assert python(code, cwd=folder, fails=True).strip() == f"error: {case.says}"
