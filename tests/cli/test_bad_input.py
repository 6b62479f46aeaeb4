"""Every mistake of the table `bad_input.yaml` gets the message that it lists."""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
import re
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER

from afpn_yolo.cli.__main__ import main as afpn
from afpn_yolo.edge.__main__ import main as edge
from afpn_yolo.upstream.models import save_checkpoint
from tests.bad_input import OURS, SHORT, Case, load
from tests.processes import YOLO as COMMAND
from tests.processes import python, run

CASES = load()
IMAGE, LABEL = "images/val/a.jpg", "labels/val/a.txt"
PACKAGE = Path(__file__).parents[2] / "afpn_yolo"


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
        elif isinstance(content, np.ndarray):
            assert cv2.imwrite(str(path), content)
        else:
            path.write_text(content, encoding="latin-1" if content.startswith("\xff") else "utf-8")


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


class Result:
    """What a user sees: printed, logged, raised."""

    def __init__(self) -> None:
        self.code = 0
        self.error: Exception | None = None
        self.printed = io.StringIO()
        self.complained = io.StringIO()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        handler = logging.StreamHandler(self.complained)
        LOGGER.addHandler(handler)
        try:
            with (
                contextlib.redirect_stdout(self.printed),
                contextlib.redirect_stderr(self.complained),
            ):
                yield
        finally:
            LOGGER.removeHandler(handler)

    def call(self, act: Callable[[], object]) -> None:
        with self.listening():
            try:
                result = act()
                self.code = result if isinstance(result, int) else 0
            except SystemExit as end:  # argparse
                self.code = end.code if isinstance(end.code, int) else 1
            except Exception as error:
                self.error, self.code = error, 2

    def everything(self, folder: Path) -> str:
        text = self.printed.getvalue() + self.complained.getvalue() + str(self.error or "")
        return text.replace(f"{folder}/", "").replace(str(folder), "")


def do(case: Case) -> Result:
    result = Result()
    words = shlex.split(case.command)
    if words[0] == "afpn":
        result.call(lambda: afpn(words[1:]))
    elif words[:3] == ["python", "-m", "afpn_yolo.edge"]:
        result.call(lambda: edge(words[3:]))
    else:
        names = {"YOLO": YOLO, "zeros": torch.zeros}
        result.call(lambda: eval(case.command, names))
    return result


def pattern(message: str) -> str:
    return ".*".join(re.escape(part) for part in message.split("…"))


def check_ours(case: Case, result: Result, folder: Path) -> None:
    """The sentence and no more; a traceback, if any, ends in our code."""
    if result.error is not None:
        assert isinstance(result.error, (ValueError, FileNotFoundError))
        last = Path(traceback.extract_tb(result.error.__traceback__)[-1].filename)
        assert last.is_relative_to(PACKAGE), last
        messages = [str(result.error)]
    else:
        lines = result.everything(folder).splitlines()
        messages = [line.split("error: ", 1)[1] for line in lines if "error: " in line]
        messages = messages or [re.sub(r"^\W*WARNING\W*", "", line) for line in lines]
    assert any(re.fullmatch(pattern(case.says), line) for line in messages), messages


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.absent != "onnxruntime"],
    ids=lambda case: f"{case.group}: {case.mistake}, {case.command}",
)
def test_mistakes(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(folder, case)
    if case.absent:
        remove(case.absent, monkeypatch)
    result = do(case)
    assert result.code == case.code, (result.error, result.everything(folder))
    if case.who == OURS:
        check_ours(case, result, folder)
    else:
        assert re.search(pattern(case.says), result.everything(folder)), result.everything(folder)


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
