"""What a benchmark plans and what it makes of times: turns, medians, tables, the chart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from afpn_yolo.base.files import write_json
from afpn_yolo.compare.plan import PAPER, QUICK_NECKS, parse_necks
from afpn_yolo.deploy.cases import Case, Choice, cases, check_installed
from afpn_yolo.deploy.figure import bars
from afpn_yolo.deploy.measure import Benchmark
from afpn_yolo.deploy.table import BEGIN, END, insert, markdown, read
from afpn_yolo.deploy.timing import alternate, summary
from tests.processes import ROOT, afpn

SMALL = Choice(["neck"], ["onnxruntime"], ["fp32"], [64], [1])


def test_calls_take_turns_and_warm_up_is_not_timed() -> None:
    told: list[str] = []
    ticks = iter(range(100))
    calls = [lambda: told.append("a"), lambda: told.append("b")]
    times = alternate(calls, runs=3, warmup=2, clock=lambda: float(next(ticks)))
    assert "".join(told) == "ab" * 5
    assert times == [[1000.0] * 3] * 2


def test_a_call_that_fails_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        alternate([lambda: 1 // 0], runs=1, warmup=0)


def test_summary_of_times() -> None:
    figures = summary([3.0, 1.0, 2.0, 4.0, 10.0], [1.0, 1.0, 2.0, 8.0, 1.0])
    assert figures["median_ms"] == 3
    assert figures["ratio_to_baseline"] == 3  # of the medians, 3 and 1
    assert figures["p10_ms"] == pytest.approx(1.4)
    assert figures["p90_ms"] == pytest.approx(7.6)
    assert figures["ratio_p10"] == pytest.approx(0.7)  # of the pairs 3, 1, 1, 0.5, 10
    assert figures["ratio_p90"] == pytest.approx(7.2)


def test_every_size_at_one_batch_and_every_batch_at_one_size() -> None:
    choice = Choice(["neck"], ["onnxruntime"], ["fp32"], [640, 320], [1, 4])
    planned = cases(parse_necks(PAPER["IV"], ["n", "s"]), choice)
    assert [(c.necks[0].scale, c.imgsz, c.batch) for c in planned] == [
        (scale, *pair) for scale in "ns" for pair in ((640, 1), (320, 1), (640, 4))
    ]
    assert all([n.label for n in case.necks] == ["PAFPN", "AFPN"] for case in planned)


def test_training_is_measured_for_the_neck_only() -> None:
    choice = Choice(["neck", "model"], ["pytorch-train"], ["fp32", "int8"], [64, 96], [1, 2])
    (case,) = cases(parse_necks(PAPER["IV"], ["n"]), choice)
    assert (case.part, case.imgsz, case.batch) == ("neck", 64, 8)
    with pytest.raises(ValueError, match="nothing to measure"):
        cases(case.necks, Choice(["model"], ["pytorch-train"], ["fp32"], [64], [1]))


def test_the_baseline_is_called_pafpn_or_comes_first() -> None:
    for words, label in ((["a=x5.yaml", "PAFPN=y5.yaml"], "PAFPN"), (["a=x5.yaml"], "a")):
        (case,) = cases(parse_necks(words, ["n"]), SMALL)
        assert case.baseline.label == label


@pytest.mark.parametrize(
    ("runtime", "gone", "message"),
    [
        ("openvino", {"nncf"}, r"openvino in int8 .*: pip install nncf; or .*--runtimes pytorch"),
        ("ncnn", {"ncnn", "pnnx"}, "pip install ncnn pnnx; or"),
        ("pytorch", {"onnxslim"}, "pip install onnxslim"),
    ],
)
def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, runtime: str, gone: set[str], message: str
) -> None:
    monkeypatch.setattr(
        "afpn_yolo.deploy.cases.find_spec", lambda name: None if name in gone else 1
    )
    choice = Choice(["neck"], [runtime], ["fp32", "int8"], [64], [1])
    with pytest.raises(ValueError, match=message):
        check_installed(cases(parse_necks(PAPER["IV"], ["n"]), choice))


def test_what_is_not_asked_for_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"openvino", "nncf", "ncnn", "pnnx"}
    monkeypatch.setattr(
        "afpn_yolo.deploy.cases.find_spec", lambda name: None if name in others else 1
    )
    check_installed(cases(parse_necks(PAPER["IV"], ["n"]), SMALL))


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """The cases that the command would measure; it stops there."""
    planned: list[Case] = []

    def measure(wanted: list[Case], args: Any) -> list[Any]:
        planned[:] = wanted
        raise KeyboardInterrupt

    monkeypatch.setattr("afpn_yolo.cli.benchmark.measure", measure)
    return planned


def test_quick_measures_the_necks_of_a_quick_comparison(
    planned: list[Case], tmp_path: Path
) -> None:
    def ways(*more: str) -> set[tuple[str, str, str]]:
        afpn("benchmark", "--quick", *more, cwd=tmp_path, fails=True)
        return {(case.part, case.runtime, case.precision) for case in planned}

    usual = {
        (part, way, "fp32") for part in ("neck", "model") for way in ("pytorch", "onnxruntime")
    }
    assert ways() == usual
    assert len(planned) == 4
    assert {n.label for n in planned[0].necks} == {
        *("none", *(neck.label for neck in parse_necks(QUICK_NECKS, [])))
    }
    assert {n.scale for n in planned[0].necks} == {"n"}
    assert (planned[0].baseline.label, planned[0].imgsz, planned[0].batch) == ("PAFPN", 320, 1)
    assert ways("--precisions", "int8", "--parts", "model") == {("model", "onnxruntime", "int8")}
    assert ways("--runtimes", "pytorch-train") == {("neck", "pytorch-train", "fp32")}
    ways("--models", "mine=yolov5n.yaml")
    assert [neck.label for neck in planned[0].necks] == ["mine"]


def test_a_benchmark_that_is_stopped_names_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measure(self: Benchmark, cases: list[Case]) -> Iterator[tuple[Case, list[Any]]]:
        if "64" not in cases[0].name:
            yield cases[0], [rows_of("PAFPN", 10, 1)]
        raise KeyboardInterrupt

    monkeypatch.setattr(Benchmark, "measure", measure)
    for size, kept in (("64", ""), ("96", "; what was measured is in b.json")):
        words = ("benchmark", "--quick", "--imgsz", size, "--json", "b.json")
        result = afpn(*words, cwd=tmp_path, fails=True)
        assert result.returncode == 130
        assert result.stderr.splitlines()[-1] == f"stopped{kept}"
        assert (tmp_path / "b.json").exists() == bool(kept)


def test_what_is_not_installed_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, planned: list[Case], tmp_path: Path
) -> None:
    others = {"openvino", "nncf", "ncnn", "pnnx"}
    monkeypatch.setattr(
        "afpn_yolo.deploy.cases.find_spec", lambda name: None if name in others else 1
    )
    told = afpn("benchmark", cwd=tmp_path, fails=True).stderr
    assert {case.runtime for case in planned} == {"pytorch", "onnxruntime", "pytorch-train"}
    assert (
        "left out: openvino fp32, openvino int8, ncnn fp32; they need: pip install openvino" in told
    )
    named = afpn("benchmark", "--quick", "--runtimes", "ncnn", cwd=tmp_path, fails=True)
    assert (named.returncode, "pip install ncnn pnnx" in named.stderr) == (2, True)


def rows_of(neck: str, median: float, ratio: float, **changes: Any) -> dict[str, Any]:
    machine = {"cpu": "Some CPU", "cores": 2, "architecture": "x86_64", "system": "Linux"}
    row = {"neck": neck, "scale": "n", "part": "neck", "runtime": "onnxruntime", "imgsz": 640}
    row |= {"precision": "fp32", "batch": 1, "median_ms": median, "p10_ms": median - 1}
    row |= {
        "p90_ms": median + 1,
        "ratio_to_baseline": ratio,
        "ratio_p10": ratio,
        "ratio_p90": ratio,
    }
    row |= {"parameters": 508_565, "gflops": 1.182, "nodes": 255, "bytes": 2_100_000, "runs": 50}
    row |= {"peak_memory_mb": 81.4, "warmup": 10, "threads": 2, "baseline": "PAFPN"}
    return {**row, "machine": machine, "versions": {"torch": "2.14.1"}, **changes}


def test_table_of_rows() -> None:
    rows = [rows_of("PAFPN", 10, 1), rows_of("AFPN", 12.5, 1.25), rows_of("X", 9, 0.9, imgsz=320)]
    text = markdown(rows)
    assert "Some CPU, 2 cores (x86_64), 2 threads. torch 2.14.1." in text
    assert "| AFPN n neck | 508,565 | 1.182 | 255 | 2.10 |" in text
    line = next(x for x in text.splitlines() if x.startswith("| n neck | ONNX Runtime fp32 | 640"))
    assert "| 10.00 (9.00-11.00) | 12.50 (11.50-13.50) | - | 1.25 (1.25-1.25) | - |" in line


def test_the_table_goes_between_the_marks_of_a_document(tmp_path: Path) -> None:
    document, path = tmp_path / "edge.md", tmp_path / "b.json"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_json(path, [rows_of("PAFPN", 10, 1), rows_of("AFPN", 12.5, 1.25)])
    for _ in range(2):  # as often as one likes
        afpn("benchmark", "--json", path, "--render", document, cwd=tmp_path)
    table = markdown(read(path)).strip()
    assert document.read_text() == f"before\n{BEGIN}\n{table}\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["none", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}"])
def test_a_document_without_both_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    document = tmp_path / "edge.md"
    document.write_text(text)
    with pytest.raises(ValueError, match="once each"):
        insert(document, "table")
    assert document.read_text() == text


@pytest.mark.parametrize("content", ["", "{}", "[]", "[1]", '[{"neck": "AFPN"}]'])
def test_a_foreign_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"x\.json is no result of a benchmark"):
        read(tmp_path / "x.json")


def test_the_benchmarks_that_are_published_can_be_read() -> None:
    published = [*(ROOT / "results").glob("*benchmark*.json")]
    assert len(published) >= 5
    assert all(markdown(read(path)) for path in published)


def test_the_chart_shows_every_neck(tmp_path: Path) -> None:
    rows = [rows_of("PAFPN", 10, 1), rows_of("AFPN", 12.5, 1.25)]
    bars(rows, tmp_path / "two.png")
    bars(rows[:1], tmp_path / "one.png")
    two, one = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("two", "one"))
    assert two is not None
    assert one is not None
    assert len(np.unique(two.reshape(-1, 3), axis=0)) > len(np.unique(one.reshape(-1, 3), axis=0))
