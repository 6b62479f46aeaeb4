"""What a benchmark plans and what it makes of times: turns, medians, tables, the chart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from afpn_yolo.compare.plan import PAPER, QUICK_NECKS, parse_necks
from afpn_yolo.deploy import machine
from afpn_yolo.deploy.cases import TITLES, Case, cases
from afpn_yolo.deploy.measure import Benchmark, markdown, quality
from afpn_yolo.deploy.timing import alternate, summary
from afpn_yolo.plots.charts import bars
from tests.processes import afpn

OPTIONAL = {"openvino", "nncf", "ncnn", "pnnx"}
SMALL = ("neck",), ("onnxruntime",), ("fp32",), (64,), (1,)


def test_calls_take_turns_and_warm_up_is_not_timed() -> None:
    order: list[str] = []
    ticks = iter(range(100))
    calls = [lambda: order.append("a"), lambda: order.append("b")]
    times = alternate(calls, runs=3, warmup=2, clock=lambda: float(next(ticks)))
    assert "".join(order) == "ab" * 5
    assert times == [[1000.0] * 3] * 2


def test_summary_of_times() -> None:
    figures = summary([3.0, 1.0, 2.0, 4.0, 10.0], [1.0, 1.0, 2.0, 8.0, 1.0])
    assert figures["median_ms"] == 3
    assert figures["ratio_to_baseline"] == 3  # of the medians, 3 and 1
    assert figures["p10_ms"] == pytest.approx(1.4)
    assert figures["p90_ms"] == pytest.approx(7.6)
    assert figures["ratio_p10"] == pytest.approx(0.7)  # of the pairs 3, 1, 1, 0.5, 10
    assert figures["ratio_p90"] == pytest.approx(7.2)


def test_every_size_at_one_batch_and_every_batch_at_one_size() -> None:
    necks = parse_necks(PAPER["IV"], ["n", "s"])
    planned = cases(necks, ["neck"], ["onnxruntime"], ["fp32"], [640, 320], [1, 4])
    assert [(c.necks[0].scale, c.imgsz, c.batch) for c in planned] == [
        (scale, *pair) for scale in "ns" for pair in ((640, 1), (320, 1), (640, 4))
    ]
    assert all([n.label for n in case.necks] == ["PAFPN", "AFPN"] for case in planned)
    # Training is measured for the neck only.
    necks, training = parse_necks(PAPER["IV"], ["n"]), ["pytorch-train"]
    (case,) = cases(necks, ["neck", "model"], training, ["fp32", "int8"], [64, 96], [1, 2])
    assert (case.part, case.imgsz, case.batch) == ("neck", 64, 8)
    with pytest.raises(ValueError, match="nothing to measure"):
        cases(necks, ["model"], training, ["fp32"], [64], [1])


def test_the_baseline_is_called_pafpn_or_comes_first() -> None:
    for words, label in ((["a=x5.yaml", "PAFPN=y5.yaml"], "PAFPN"), (["a=x5.yaml"], "a")):
        (case,) = cases(parse_necks(words, ["n"]), *SMALL)
        assert case.baseline.label == label


def only_without(*gone: str) -> Any:
    """In place of `find_spec`: everything but these is installed."""
    return lambda name: None if name in gone else 1


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

    assert ways() == {*product(("neck", "model"), ("pytorch", "onnxruntime"), ("fp32",))}
    assert len(planned) == 4
    labels = {"none", *(neck.label for neck in parse_necks(QUICK_NECKS, []))}
    assert {(n.label, n.scale) for n in planned[0].necks} == {(label, "n") for label in labels}
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
    for size, saved in (("64", False), ("96", True)):
        words = ("benchmark", "--quick", "--imgsz", size, "--json", "b.json")
        result = afpn(*words, cwd=tmp_path, fails=True)
        assert result.returncode == 130
        assert ("b.json" in result.stderr) == (tmp_path / "b.json").exists() == saved


def test_what_is_not_installed_is_left_out_or_refused_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, planned: list[Case], tmp_path: Path
) -> None:
    monkeypatch.setattr("afpn_yolo.deploy.cases.find_spec", only_without(*OPTIONAL))
    message = afpn("benchmark", cwd=tmp_path, fails=True).stderr
    assert {case.runtime for case in planned} == {"pytorch", "onnxruntime", "pytorch-train"}
    assert "left out: openvino fp32, openvino int8, ncnn fp32" in message
    for runtime, gone in (("openvino", "nncf"), ("ncnn", "ncnn pnnx"), ("pytorch", "onnxslim")):
        monkeypatch.setattr("afpn_yolo.deploy.cases.find_spec", only_without(*gone.split()))
        named = afpn("benchmark", "--runtimes", runtime, cwd=tmp_path, fails=True)
        assert (named.returncode, f"pip install {gone}" in named.stderr) == (2, True)


def rows_of(neck: str, median: float, ratio: float, **changes: Any) -> Any:
    row = {"neck": neck, "scale": "n", "part": "neck", "runtime": "onnxruntime", "imgsz": 640}
    row |= {"precision": "fp32", "batch": 1, "median_ms": median, "p10_ms": median - 1}
    row |= {"p90_ms": median + 1, "unsteady": False, "load": 0.1}
    row |= dict.fromkeys(("ratio_to_baseline", "ratio_p10", "ratio_p90"), ratio)
    row |= {"parameters": 508_565, "gflops": 1.182, "nodes": 255, "bytes": 2_100_000, "runs": 50}
    row |= {"peak_memory_mb": 81.4, "warmup": 10, "threads": 1, "baseline": "PAFPN"}
    row |= {"machine": {"cpu": "Some CPU", "cores": 2, "architecture": "x86_64"}}
    return row | {"versions": {"torch": "2.14.1"}} | changes


def test_table_of_rows() -> None:
    rows = [rows_of("PAFPN", 10, 1), rows_of("AFPN", 12.5, 1.25), rows_of("X", 9, 0.9, imgsz=320)]
    text = markdown(rows)
    assert "Some CPU, 2 cores (x86_64), 1 threads. torch 2.14.1." in text
    assert "| AFPN n neck | 508,565 | 1.182 | 255 | 2.10 |" in text
    line = next(x for x in text.splitlines() if x.startswith("| n neck | ONNX Runtime fp32 | 640"))
    assert "| 10.00 (9.00-11.00) | 12.50 (11.50-13.50) | - | 1.25 (1.25-1.25) | - |" in line
    assert quality(rows) == []


def test_times_of_a_busy_machine_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.41 for a neck that takes as long as the other: the pairs scatter, and the load is high."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    figures = summary([1.0, 1.2, 0.9, 9.0, 1.1], [1.0, 3.0, 1.0, 2.8, 2.9])
    assert figures["ratio_to_baseline"] == pytest.approx(0.393, abs=1e-3)
    row = rows_of("AFPN", 1.1, 1, **figures, unsteady=machine.is_unsteady(figures), load=1.8)
    rows = [rows_of("PAFPN", 2.8, 1), row]
    busy, unsteady = quality(rows)
    assert ("busy" in busy, "unsteady" in unsteady) == (True, True)
    assert all(sentence in markdown(rows) for sentence in (busy, unsteady, ") ? |"))
    assert not machine.is_unsteady(summary([1.0, 1.1, 1.2], [1.0, 1.0, 1.0]))
    for others, threads, count in ((0.1, 2, 0), (0.8, 2, 1), (0.8, 1, 0), (0.1, 8, 0)):
        assert len(machine.warnings([], others, threads)) == count


def test_the_chart_shows_every_neck(tmp_path: Path) -> None:
    rows = [rows_of("PAFPN", 10, 1), rows_of("AFPN", 12.5, 1.25), rows_of("B", 9, 0.9)]
    del rows[2]["unsteady"]  # as in older results
    colours = []
    for count in (1, 2, 3):
        bars(rows[:count], tmp_path / "a.png", TITLES)
        picture = np.array(cv2.imread(str(tmp_path / "a.png")))
        colours.append(len(np.unique(picture.reshape(-1, 3), axis=0)))
    assert colours[0] < colours[1] < colours[2]
