"""How the scripts begin and end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from afpn_yolo.cli.command import command
from tests.processes import ROOT, run

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_needs_nothing_but_python(script: Path, tmp_path: Path) -> None:
    # -S: no installed package can be imported, torch and Ultralytics least of all.
    only_us = {"PYTHONPATH": str(ROOT)}
    printed = run(sys.executable, "-S", script, "--help", cwd=tmp_path, env=only_us).stdout
    assert printed.startswith(f"usage: {script.name} ")


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (FileNotFoundError(2, "No such file", "a.pt"), 2, "error: [Errno 2] No such file: 'a.pt'"),
        (ValueError("--n must be 1"), 2, "error: --n must be 1"),
        (RuntimeError("the export failed"), 2, "error: the export failed"),
        (KeyboardInterrupt(), 130, "\nstopped; nothing was written"),
    ],
)
def test_failures_are_a_sentence_and_an_exit_code(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @command(stopped="stopped; nothing was written", failures=(RuntimeError,))
    def main(argv: list[str] | None = None) -> int:
        raise error

    assert main([]) == code
    assert capsys.readouterr().err == f"{told}\n"


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    @command()
    def main(argv: list[str] | None = None) -> int:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        main([])
