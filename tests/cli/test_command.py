"""The command `afpn`: what it says of itself, and how it begins and ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from afpn_yolo import __version__
from afpn_yolo.cli.__main__ import COMMANDS, main
from afpn_yolo.cli.arguments import JsonTarget
from afpn_yolo.cli.command import ended
from afpn_yolo.plugin.fallback import NEWEST, OLDEST
from tests.processes import AFPN, ROOT, afpn, run

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
HELP = """
import runpy, sys
from afpn_yolo.cli.__main__ import COMMANDS, main

def told(call):
    try:
        call()
    except SystemExit as end:
        assert end.code in (0, None), end.code

for name in COMMANDS:
    told(lambda: main([name, "--help"]))
for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    told(lambda: runpy.run_path(path, run_name="__main__"))
"""


def test_help_needs_nothing_but_python(tmp_path: Path) -> None:
    # -S: no installed package can be imported, torch and Ultralytics least of all.
    only_us = {"PYTHONPATH": str(ROOT)}
    printed = run(
        sys.executable, "-S", "-c", HELP, *SCRIPTS, cwd=tmp_path, env=only_us
    ).stdout.splitlines()
    usages = [line.split()[2] for line in printed if line.startswith("usage: afpn ")]
    assert usages[: len(COMMANDS)] == [*COMMANDS]
    assert len(usages) == len(COMMANDS) + len(SCRIPTS)
    assert set(usages[len(COMMANDS) :]) < set(COMMANDS)


def test_every_command_is_in_the_overview(tmp_path: Path) -> None:
    text = afpn("--help", cwd=tmp_path).stdout
    assert text == afpn(cwd=tmp_path).stdout
    listed = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  ")]
    for name, summary in COMMANDS.items():
        assert [name, summary] in listed
    for code in (0, 1, 2, 130, 141):
        assert f"\n  {code} " in text


def test_version(tmp_path: Path) -> None:
    assert run(*AFPN, "--version", cwd=tmp_path).stdout == f"afpn_yolo {__version__}\n"


@pytest.mark.parametrize(
    ("word", "meant"),
    [("evalute", "evaluate"), ("draw_neck", "draw-neck"), ("Quantise", "quantize")],
)
def test_a_misspelt_command(word: str, meant: str, tmp_path: Path) -> None:
    result = afpn(word, cwd=tmp_path, fails=True)
    assert result.returncode == 2
    assert result.stderr == f"error: no command {word!r}; did you mean {meant!r}?\n"
    assert ", ".join(COMMANDS) in afpn("xyz", cwd=tmp_path, fails=True).stderr


MISSING = ModuleNotFoundError("No module named 'onnx'", name="onnx")


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (FileNotFoundError(2, "No such file", "a.pt"), 2, "error: a.pt: no such file or folder"),
        (ValueError("--n must be 1"), 2, "error: --n must be 1"),
        (MISSING, 2, "error: onnx is not installed: pip install onnx"),
        (KeyboardInterrupt(), 130, "\nstopped; nothing was written"),
        (KeyboardInterrupt("stopped; a.json is half"), 130, "\nstopped; a.json is half"),
    ],
)
def test_failures_are_a_sentence_and_an_exit_code(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    assert ended(fail, "stopped; nothing was written") == code
    assert capsys.readouterr().err == f"{told}\n"


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
    result = afpn("env", "--json", "-", cwd=tmp_path)
    found = json.loads(result.stdout)
    assert found["packages"]["ultralytics"] in result.stderr
    printed = afpn("env", "--json", "sub/env.json", cwd=tmp_path).stdout
    assert result.stderr.endswith(printed)  # Ultralytics may say something, too
    assert json.loads((tmp_path / "sub" / "env.json").read_text()) == found


def test_json_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "x.json"):
        result = afpn("env", "--json", path, cwd=tmp_path, fails=True)
        assert f"argument --json: {path}: it can't be written there" in result.stderr


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        JsonTarget("-").write([float("nan")])
    with pytest.raises(ValueError, match="not JSON compliant"):
        JsonTarget(str(tmp_path / "a.json")).write([float("nan")])
    assert not [*tmp_path.iterdir()]


def test_env_says_what_a_bug_report_needs(tmp_path: Path) -> None:
    import onnxruntime
    import torch
    import ultralytics

    lines = dict(
        line.split(maxsplit=1)
        for line in afpn("env", cwd=tmp_path).stdout.splitlines()
        if "  " in line
    )
    assert lines["afpn_yolo"] == __version__
    assert lines["ultralytics"] == ultralytics.__version__
    assert lines["torch"].startswith(torch.__version__.partition("+")[0])
    assert lines["onnxruntime"].startswith(onnxruntime.__version__)
    assert "CPUExecutionProvider" in lines["onnxruntime"]
    assert lines["AFPN's"].endswith("registered with Ultralytics")
    assert lines["tested"].endswith(f"ultralytics {OLDEST} to {NEWEST}")


def test_env_says_why_there_are_no_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ultralytics.nn import tasks

    from afpn_yolo.plugin import startup

    monkeypatch.setenv("AFPN_YOLO_DISABLE", "1")
    assert "not registered: AFPN_YOLO_DISABLE is set" in afpn("env", cwd=tmp_path).stdout
    monkeypatch.delenv("AFPN_YOLO_DISABLE")
    monkeypatch.delattr(tasks, "AFPN_LAYERS")
    monkeypatch.setitem(startup.refused, tasks.__name__, RuntimeError("it is too old"))
    assert "not registered: it is too old" in afpn("env", cwd=tmp_path).stdout
    monkeypatch.setitem(sys.modules, "ultralytics.nn", None)
    assert "not registered: ultralytics can't be imported" in afpn("env", cwd=tmp_path).stdout


def test_main_reads_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["afpn", "--version"])
    assert main() == 0
    assert __version__ in capsys.readouterr().out
