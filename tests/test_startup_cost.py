"""The benchmark of start-up times runs, tells both sides apart, and computes what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from afpn_yolo.startup_cost import CASES, Case, Interpreter, markdown, measure, summary
from tests.processes import run

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmark_startup.py"


@pytest.mark.slow
def test_command(tmp_path: Path) -> None:
    files = ("--json", "out/startup.json", "--markdown", "out/startup.md")
    output = run(sys.executable, SCRIPT, "--repeats", "1", *files, cwd=tmp_path).stdout
    assert output.endswith((tmp_path / "out" / "startup.md").read_text())
    report = json.loads((tmp_path / "out" / "startup.json").read_text())
    assert len(report["cases"]) == 4
    for case in report["cases"].values():
        assert case["ratio"]["median"] == case["seconds"]["ours"][0] / case["seconds"]["stock"][0]
    assert set(report["machine"]["versions"]) >= {"python", "torch", "ultralytics", "afpn_yolo"}


@pytest.mark.parametrize("words", [("--repeats", "0"), ("--nonsense",)])
def test_wrong_words(words: tuple[str, ...], tmp_path: Path) -> None:
    assert run(sys.executable, SCRIPT, *words, cwd=tmp_path, fails=True).returncode == 2


def test_one_side_has_the_hook_and_the_other_nothing_of_ours(tmp_path: Path) -> None:
    code = "import sys; print(sum(name.startswith('afpn_yolo') for name in sys.modules))"
    found = [Interpreter(tmp_path / str(h), h).seconds(code, prints=True) for h in (False, True)]
    assert found == [0, 2]  # the package and its start-up


def test_both_sides_build_their_model_in_turn(tmp_path: Path) -> None:
    build = CASES[-1]
    report = measure(tmp_path, 1, [Case(build.name, "print(0.5)", build.ours, prints=True)])
    case = report["cases"][build.name]
    assert case["seconds"]["stock"] == [0.5]
    assert case["ratio"]["median"] == case["seconds"]["ours"][0] / 0.5 > 0


def test_code_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="'import nonsense' failed: ModuleNotFoundError"):
        measure(tmp_path, 1, [Case("bad", "import nonsense", "pass")])


def test_summary() -> None:
    case = summary({"stock": [1.0, 2.0, 4.0], "ours": [2.0, 2.0, 2.0]})
    assert case["ratio"] == {"median": 1.0, "low": 0.75, "high": 1.5}
    assert case["difference"]["median"] == 0
    report = {
        "cases": {"start": case},
        "machine": {"versions": {"python": "3"}, "cpu": "P", "cores": 2, "load": None},
    }
    assert "| start | 2000.0 [1500.0, 3000.0] | 2000.0 [2000.0, 2000.0] |" in markdown(report)
    assert "| 1.000 [0.750, 1.500] |" in markdown(report)
