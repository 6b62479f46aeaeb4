"""What only POSIX has is needed nowhere: Windows imports every module, and measures memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import psutil
import pytest

from afpn_yolo.base.files import write_json
from afpn_yolo.deploy import worker
from afpn_yolo.edge import sources
from tests.processes import python

MISSING = "resource fcntl pwd grp termios tty pty syslog".split()  # noqa: SIM905

EVERY = f"""
import importlib, os, pkgutil, sys
# These may ask for POSIX where it is there.
import numpy, onnxruntime.quantization, psutil, torch, torchvision, ultralytics
sys.modules.update(dict.fromkeys({MISSING!r}))
for name in ("killpg", "getuid", "geteuid", "getppid", "fork", "mkfifo", "setsid"):
    if hasattr(os, name):
        delattr(os, name)
import afpn_yolo
names = [m.name for m in pkgutil.walk_packages(afpn_yolo.__path__, "afpn_yolo.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names), "modules")
"""


def test_every_module_is_imported_without_posix(tmp_path: Path) -> None:
    printed = python(EVERY, tmp_path)
    assert int(printed.split(" modules")[0].split()[-1]) > 60


def test_memory_on_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(worker, "STATUS", tmp_path / "none")
    monkeypatch.setattr(sys, "platform", "win32")
    information = SimpleNamespace(peak_wset=123_000_000)
    monkeypatch.setattr(psutil.Process, "memory_info", lambda self: information)
    assert worker.peak() == 123


def test_a_file_that_another_program_has_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Windows doesn't replace it."""

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "Access is denied", str(source), 5, str(target))

    path = tmp_path / "results.json"
    write_json(path, [1])
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError) as caught:
        write_json(path, [2])
    assert str(caught.value).startswith(f"{path} can't be replaced: it is open in another program")
    assert (path.read_text(), len([*tmp_path.iterdir()])) == ("[\n 1\n]\n", 1)


@pytest.mark.parametrize("text", [r"C:\photos\a.jpg", "C:/photos/a.jpg", r"\\server\share\a.jpg"])
def test_a_path_of_windows_is_no_url(text: str) -> None:
    assert PureWindowsPath(text).name == "a.jpg"
    (found,) = sources.find(text)
    assert found.image
