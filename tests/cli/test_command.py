"""The command `afpn`: its help, how words are read, how it ends; `afpn models` and `afpn env`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from afpn_yolo import __version__
from afpn_yolo.cli import JsonTarget, model_name
from afpn_yolo.cli import __main__ as cli
from afpn_yolo.cli.__main__ import COMMANDS, main, module_of
from afpn_yolo.edge.command import ended
from tests.processes import AFPN, ROOT, afpn, run

HELP = """
import sys
from afpn_yolo.cli.__main__ import COMMANDS, main

for words in ([], ["--help"], *([name, "--help"] for name in COMMANDS)):
    try:
        main(words)
    except SystemExit as end:
        assert end.code in (0, None), end.code
"""


def test_help_needs_nothing_but_python(tmp_path: Path) -> None:
    # -S: no installed package can be imported, torch and Ultralytics least of all.
    only_us = {"PYTHONPATH": str(ROOT)}
    printed = run(sys.executable, "-S", "-c", HELP, cwd=tmp_path, env=only_us).stdout
    usages = [line.split()[2] for line in printed.splitlines() if line.startswith("usage: afpn ")]
    assert usages[2:] == [*COMMANDS]
    overview = printed.split("usage: ")[1]
    assert all(f"  {name} " in overview for name in COMMANDS)


def test_version(tmp_path: Path) -> None:
    assert run(*AFPN, "--version", cwd=tmp_path).stdout == f"afpn_yolo {__version__}\n"


def parsed(monkeypatch: pytest.MonkeyPatch, name: str, *words: str) -> dict[str, Any]:
    """The arguments that a command gets from these words."""
    seen: list[Namespace] = []

    def keep(args: Namespace) -> int:
        seen.append(args)
        return 0

    fake = SimpleNamespace(__doc__="", add_arguments=module_of(name).add_arguments, run=keep)
    monkeypatch.setattr(cli, "module_of", lambda _: fake)
    assert main([name, *words]) == 0
    monkeypatch.undo()
    return vars(seen[0])


@pytest.mark.parametrize(
    ("gnu", "keyed"),
    [
        ("evaluate best.pt my.yaml --imgsz 320", "evaluate data=my.yaml imgsz=320 model=best.pt"),
        ("evaluate best.pt my.yaml --imgsz 320", "evaluate best.pt imgsz=320 data=my.yaml"),
        ("evaluate best.pt my.yaml --square", "evaluate my.yaml model=best.pt square=True"),
        ("evaluate best.pt my.yaml", "evaluate model=best.pt data=my.yaml square=False"),
        ("compare --data d.yaml --quick --seeds 0 1", "compare data=d.yaml quick=True seeds=0,1"),
        ("compare --data d.yaml --seeds 0 1", "compare data=d.yaml seeds=[0,1]"),
        (
            "compare A=a.yaml seed=b.pt --data d.yaml --set lr0=0.1 seed=3",
            "compare A=a.yaml seed=b.pt data=d.yaml --set lr0=0.1 seed=3",
        ),
        ("compare a=yolo11n-afpn-lite --data d.yaml", "compare a=yolo11n-afpn-lite data=d.yaml"),
        ("train-rcnn --data d --grad-clip 9", "train-rcnn data=d grad_clip=9"),
        (
            "detect a.onnx x.jpg y --max-det 3 --classes 0 2 --imgsz 64 96 --conf 0.1",
            "detect classes=0,2 model=a.onnx source=x.jpg,y max_det=3 imgsz=(64,96) conf=0.1",
        ),
        ("detect a.onnx x.jpg", "detect a.onnx source=x.jpg"),
        ("graft yolo11n.yaml --neck lite", "graft model=yolo11n.yaml neck=lite"),
    ],
)
def test_key_value_words_mean_what_options_mean(
    gnu: str, keyed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parsed(monkeypatch, *keyed.split()) == parsed(monkeypatch, *gnu.split())


def test_every_command_takes_key_value_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """One value of each argument; no argument's name hides another's."""
    for name in COMMANDS:
        parser = cli.Parser(prog=name)
        module_of(name).add_arguments(parser)
        words, expected = [], {}
        for action in parser._actions[1:]:
            value: Any = "a.pt"
            if action.choices:
                value = next(iter(action.choices))
            elif "." in str(action.metavar):
                value = action.metavar
            elif action.type in (int, float) or action.nargs == 0:
                value = "1"
            count = action.nargs if isinstance(action.nargs, int) else 1
            key = (action.option_strings or [action.dest])[-1].lstrip("-").replace("-", "_")
            words.append(f"{key}={','.join([value] * max(count, 1))}")
            expected[action.dest] = value
        arguments = parsed(monkeypatch, name, *words)
        assert expected.keys() <= arguments.keys()
        assert None not in arguments.values(), (name, arguments)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("yolov5n", "yolov5n.yaml"),
        ("A=yolo11n-afpn-lite-seg", "A=yolo11n-afpn-lite-seg.yaml"),
        ("yolov5n.pt", "yolov5n.pt"),
        ("mine", "mine"),
    ],
)
def test_a_model_without_suffix_is_a_yaml(word: str, meant: str) -> None:
    assert model_name(word) == meant


MISSING = ModuleNotFoundError("No module named 'onnx'", name="onnx")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (FileNotFoundError(2, "No such file", "a.pt"), 2, "error: a.pt: no such file or folder"),
        (ValueError("--n must be 1"), 2, "error: --n must be 1"),
        (MISSING, 2, "error: onnx is not installed: pip install onnx"),
        (KeyboardInterrupt(), 130, "\nstopped; nothing was written"),
        (KeyboardInterrupt("stopped; a.json is half"), 130, "\nstopped; a.json is half"),
    ],
)
def test_failures_are_a_sentence_and_an_exit_code(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    assert ended(fail, "stopped; nothing was written") == code
    assert capsys.readouterr().err == f"{message}\n"


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    for fault in (RuntimeError("a bug"), ModuleNotFoundError("x", name="afpn_yolo.x")):

        def fail(fault: Exception = fault) -> int:
            raise fault

        with pytest.raises(type(fault)):
            ended(fail)


def test_nobody_reads_on(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([*AFPN, "--help"], stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


def test_json_alone_goes_to_standard_output(tmp_path: Path) -> None:
    result = afpn("env", "json=-", cwd=tmp_path)
    found = json.loads(result.stdout)
    assert found["ultralytics"] in result.stderr
    assert afpn("env", "--json", "sub/env.json", cwd=tmp_path).stdout
    assert json.loads((tmp_path / "sub" / "env.json").read_text()).keys() == found.keys()


def test_json_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "x.json"):
        result = afpn("env", "--json", path, cwd=tmp_path, fails=True)
        assert f"argument --json: {path}: " in result.stderr


def test_json_has_no_nan(tmp_path: Path) -> None:
    for name in ("-", str(tmp_path / "a.json")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            JsonTarget(name).write([float("nan")])
    assert not [*tmp_path.iterdir()]


def test_env_says_what_a_bug_report_needs(tmp_path: Path) -> None:
    import torch
    import ultralytics

    printed = afpn("env", cwd=tmp_path).stdout.splitlines()
    lines = dict(line.split("  ", 1) for line in printed if "  " in line)
    assert lines["afpn_yolo"].strip() == __version__
    assert lines["ultralytics"].strip() == ultralytics.__version__
    assert lines["torch"].strip() == torch.__version__.partition("+")[0]
    assert lines["AFPN's layers"].strip() == "registered with Ultralytics"
    assert {"OS", "CPU", "Python"} <= lines.keys()


def test_env_says_why_there_are_no_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFPN_YOLO_DISABLE", "1")
    assert "not registered: AFPN_YOLO_DISABLE is set" in afpn("env", cwd=tmp_path).stdout
    monkeypatch.delenv("AFPN_YOLO_DISABLE")
    monkeypatch.setitem(sys.modules, "ultralytics.nn", None)
    assert "not registered: ultralytics can't be imported" in afpn("env", cwd=tmp_path).stdout


def test_models_lists_what_can_be_built(tmp_path: Path) -> None:
    result = afpn("models", "yolov5", "yolov10", "scale=s", "json=m.json", cwd=tmp_path)
    rows = {row["model"]: row for row in json.loads((tmp_path / "m.json").read_text())}
    assert rows.keys() == {"yolov5s", "yolov5s-p6", "yolov10s"}
    assert all(name in result.stdout for name in rows)
    small = rows["yolov5s"]
    assert small["tasks"] == ["detect"]
    assert small["stock"]["parameters"] == 9153152  # as Ultralytics' own summary has them
    assert small["stock"]["gflops"] == pytest.approx(24.2, abs=0.3)
    assert small["lite"]["gflops"] < small["afpn"]["gflops"] < small["stock"]["gflops"]
