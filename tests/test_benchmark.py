"""Benchmarks of necks: calls that alternate, arithmetic, rows of a real run, what can't be run."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from afpn_yolo.bench.convert import Subject
from afpn_yolo.bench.figure import bars
from afpn_yolo.bench.plan import Choice, cases, check_installed
from afpn_yolo.bench.report import BEGIN, END, insert, markdown, read
from afpn_yolo.bench.run import Benchmark, BenchmarkError
from afpn_yolo.bench.timing import alternate, quantile, summary
from afpn_yolo.bench.worker import train_step
from afpn_yolo.compare.plan import PAPER, Neck, parse_necks
from afpn_yolo.engine.models import empty_model
from afpn_yolo.engine.neck import Neck as NeckRows
from afpn_yolo.engine.neck import enliven, feature_shapes, gflops
from afpn_yolo.files import write_json
from tests.processes import python, run

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmark.py"
TEXTS = ("neck", "scale", "part", "runtime", "precision", "machine", "versions")
NUMBERS = ("imgsz", "batch", "parameters", "nodes", "bytes", "runs", "warmup", "threads")
FIGURES = ("median_ms", "p10_ms", "p90_ms", "ratio_to_pafpn", "gflops", "peak_memory_mb")
SMALL = Choice(["neck"], ["onnxruntime"], ["fp32"], [64], [1])

TWO_LEVELS = """
nc: 3
scales: {n: [0.33, 0.25, 1024]}
backbone:
  - [-1, 1, Conv, [64, 3, 2]] # 0
  - [-1, 1, Conv, [128, 3, 2]] # 1
  - [-1, 1, Conv, [256, 3, 2]] # 2
head:
  - [1, 1, AFPNConv, [128]] # 3
  - [[3, 2], 1, AFPNFusion, [0]] # 4
  - [[3, 2], 1, AFPNFusion, [1]] # 5
  - [[4, 5], 1, Detect, [nc]]
"""


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
    assert figures["ratio_to_pafpn"] == 3  # of the medians, 3 and 1
    assert figures["p10_ms"] == pytest.approx(1.4)
    assert figures["p90_ms"] == pytest.approx(7.6)
    assert figures["ratio_p10"] == pytest.approx(0.7)  # of the pairs 3, 1, 1, 0.5, 10
    assert figures["ratio_p90"] == pytest.approx(7.2)


def test_quantiles_are_numpys() -> None:
    values = np.random.default_rng(0).random(23)
    for share in (0, 0.1, 0.5, 0.9, 1):
        assert quantile([*values], share) == pytest.approx(np.quantile(values, share))


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
    monkeypatch.setattr("afpn_yolo.bench.plan.find_spec", lambda name: None if name in gone else 1)
    choice = Choice(["neck"], [runtime], ["fp32", "int8"], [64], [1])
    with pytest.raises(ValueError, match=message):
        check_installed(cases(parse_necks(PAPER["IV"], ["n"]), choice))


def test_what_is_not_asked_for_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"openvino", "nncf", "ncnn", "pnnx"}
    monkeypatch.setattr(
        "afpn_yolo.bench.plan.find_spec", lambda name: None if name in others else 1
    )
    check_installed(cases(parse_necks(PAPER["IV"], ["n"]), SMALL))


@pytest.mark.parametrize(
    ("name", "parameters", "operations"),
    [("yolov5n.yaml", 710_784, 1.337), ("yolov5n-afpn.yaml", 508_565, 1.182)],
)
def test_parameters_and_gflops_of_the_neck_alone(
    name: str, parameters: int, operations: float
) -> None:
    model: Any = empty_model(name)
    shapes = feature_shapes(model, 1, 640)
    assert shapes == [(1, 64 * 2**i, 80 >> i, 80 >> i) for i in range(3)]
    assert sum(p.numel() for p in NeckRows(model).parameters()) == parameters
    # Ultralytics' own `fuse`: ours goes on to merge the squeezes, which adds zeros.
    fused = NeckRows(type(model).fuse.__wrapped__(model, verbose=False))
    assert gflops(fused, shapes) == pytest.approx(operations, abs=5e-4)


def test_the_neck_alone_gives_what_the_head_gets_in_the_model() -> None:
    torch.manual_seed(0)
    model: Any = enliven(empty_model("yolov5n-afpn.yaml"))
    heard: dict[int, Any] = {}
    for row in model.model:
        row.register_forward_hook(lambda m, args, out: heard.update({m.i: (args, out)}))
    with torch.no_grad():
        model(torch.rand(1, 3, 96, 96))
        neck = NeckRows(model)
        outputs = neck(*(heard[row][1] for row in neck.inputs))
    for output, expected in zip(outputs, heard[29][0][0], strict=True):
        assert torch.equal(output, expected)
        assert output.std() > 0.01  # lively


@pytest.mark.parametrize("name", ["yolov5n.yaml", "yolov5n-afpn.yaml"])
def test_an_enlivened_model_holds_no_tiny_and_no_huge_numbers(name: str) -> None:
    model: Any = enliven(empty_model(name))
    deviations: list[float] = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda m, args, out: deviations.append(float(out.std())))
    with torch.no_grad():
        model(torch.rand(1, 3, 96, 96))
    assert min(deviations) > 0.05
    assert max(deviations) < 20


def test_rows_of_a_run(tmp_path: Path) -> None:
    options = ("--quick", "--imgsz", "64", "--runs", "3", "--warmup", "1", "--parts", "neck")
    runtimes = ("--runtimes", "pytorch", "onnxruntime")
    path = tmp_path / "out" / "b.json"
    result = run(sys.executable, SCRIPT, *options, *runtimes, "--json", path, cwd=tmp_path)
    rows = json.loads(path.read_text())
    ways = [(r["runtime"], r["precision"]) for r in rows]
    expected = [("pytorch", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "int8")]
    assert ways == [way for way in expected for _ in range(2)]
    for row in rows:
        assert all(row[key] for key in TEXTS)
        assert all(isinstance(row[key], int) and row[key] > 0 for key in NUMBERS)
        assert all(isinstance(row[key], float) and row[key] > 0 for key in FIGURES)
        assert row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
        assert (row["scale"], row["part"], row["imgsz"], row["runs"]) == ("n", "neck", 64, 3)
        assert 0 < row["base_memory_mb"] < row["peak_memory_mb"]
        assert row["versions"]["torch"] == torch.__version__.partition("+")[0]
    for pafpn, afpn in zip(rows[::2], rows[1::2], strict=True):
        assert (pafpn["neck"], afpn["neck"]) == ("PAFPN", "AFPN")
        assert (pafpn["parameters"], afpn["parameters"]) == (710_784, 508_565)
        assert pafpn["ratio_to_pafpn"] == 1
        ratio = afpn["median_ms"] / pafpn["median_ms"]
        assert afpn["ratio_to_pafpn"] == pytest.approx(ratio, rel=0.01)
        assert pafpn["nodes"] < afpn["nodes"]
    assert rows[4]["bytes"] < 0.4 * rows[2]["bytes"]  # int8
    assert path.with_suffix(".md").read_text() in result.stdout
    picture = cv2.imread(str(path.with_suffix(".png")))
    assert picture is not None
    assert len(np.unique(picture)) > 20


def test_training_goes_forward_and_backward(tmp_path: Path) -> None:
    model = enliven(empty_model("yolov5n-afpn.yaml"))
    subject = Subject(model, "neck", 64, 2, tmp_path)
    module = torch.load(subject.made("pytorch-train", "fp32").path, weights_only=False)
    call = train_step(module, subject.noise())
    call()
    gradients = [p.grad for p in module.parameters()]
    assert module.training
    assert sum(g is not None and bool(g.any()) for g in gradients) > 0.8 * len(gradients)
    first = [g.clone() for g in gradients if g is not None]
    call()
    again = [p.grad for p in module.parameters() if p.grad is not None]
    for one, other in zip(first, again, strict=True):  # not added up
        assert torch.allclose(one, other, rtol=1e-2, atol=1e-4 + 1e-2 * float(one.abs().max()))


def test_a_model_of_the_users_with_two_levels(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "own5.yaml").write_text(TWO_LEVELS)
    monkeypatch.chdir(tmp_path)
    necks = parse_necks(["own5.yaml"], ["n"])
    for part in ("neck", "model"):
        choice = Choice([part], ["onnxruntime"], ["fp32", "int8"], [64], [2])
        found = [
            row for _, rows in Benchmark(1, 0, 1).measure(cases(necks, choice)) for row in rows
        ]
        assert [row["neck"] for row in found] == ["own5"] * 2
        assert [row["ratio_to_pafpn"] for row in found] == [1, 1]


def test_memory_is_of_the_runtime_alone(tmp_path: Path) -> None:
    """ONNX Runtime is measured in a process that never imports torch."""
    code = (
        "import sys, afpn_yolo.bench.worker\n"
        "print([name for name in ('torch', 'ultralytics', 'onnx') if name in sys.modules])"
    )
    assert python(code, tmp_path).strip() == "[]"


def test_the_memory_of_the_process_that_starts_it_does_not_count(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, numpy\n"
        "held = numpy.ones(100_000_000)\n"  # 800 MB
        "ask = 'from afpn_yolo.bench.memory import peak; print(peak())'\n"
        "print(subprocess.run([sys.executable, '-c', ask], stdout=-1, text=True).stdout)"
    )
    assert 5 < float(python(code, tmp_path)) < 300


def test_a_run_that_fails_ends_the_benchmark() -> None:
    choice = Choice(["neck"], ["pytorch"], ["fp32"], [64], [1])
    planned = cases([Neck("PAFPN", "yolov5.yaml", "n")], choice)
    with pytest.raises(BenchmarkError, match=r"n neck pytorch fp32 64 x1: exit code 1: .*threads"):
        [*Benchmark(1, 0, threads=-7).measure(planned)]


def test_an_export_that_fails_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr("afpn_yolo.bench.convert.export_onnx", fail)
    with pytest.raises(BenchmarkError, match="PAFPN-n: the export failed: no such operator"):
        [*Benchmark(1, 0, 1).measure(cases([Neck("PAFPN", "yolov5.yaml", "n")], SMALL))]


MISTAKES = {
    "none.yaml": (("--models", "none5n.yaml"), "none5.yaml"),
    "scale": (("--models", "yolov5n.yaml", "--scales", "s"), "scale in its name"),
    "twice": (("--models", "a=yolov5.yaml", "a=yolov5.yaml"), "occurs twice"),
    "size": (("--imgsz", "100"), "multiples of 32, got 100"),
    "runs": (("--runs", "0"), "at least 1, got 0"),
    "json": (("--json", "rows.txt"), "must end in .json"),
    "render": (("--render", "none.md"), "No such file"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_sentence(case: str, tmp_path: Path) -> None:
    options, message = MISTAKES[case]
    usual = ("--quick", "--runtimes", "pytorch", "--parts", "neck")
    result = run(sys.executable, SCRIPT, *usual, *options, cwd=tmp_path, fails=True)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def rows_of(neck: str, median: float, ratio: float, **changes: Any) -> dict[str, Any]:
    machine = {"cpu": "Some CPU", "cores": 2, "architecture": "x86_64", "system": "Linux"}
    row = {"neck": neck, "scale": "n", "part": "neck", "runtime": "onnxruntime", "imgsz": 640}
    row |= {"precision": "fp32", "batch": 1, "median_ms": median, "p10_ms": median - 1}
    row |= {"p90_ms": median + 1, "ratio_to_pafpn": ratio, "ratio_p10": ratio, "ratio_p90": ratio}
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
        run(sys.executable, SCRIPT, "--json", path, "--render", document, cwd=tmp_path)
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


def test_the_chart_shows_every_neck(tmp_path: Path) -> None:
    rows = [rows_of("PAFPN", 10, 1), rows_of("AFPN", 12.5, 1.25)]
    bars(rows, tmp_path / "two.png")
    bars(rows[:1], tmp_path / "one.png")
    two, one = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("two", "one"))
    assert two is not None
    assert one is not None
    assert len(np.unique(two.reshape(-1, 3), axis=0)) > len(np.unique(one.reshape(-1, 3), axis=0))


def outputs_in(runtime: str, path: Path, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """What a file of the benchmark computes."""
    if runtime == "openvino":
        import openvino as ov

        config = {"INFERENCE_PRECISION_HINT": "f32"}
        model = ov.Core().compile_model(str(next(path.glob("*.xml"))), "CPU", config)
        return [*model(arrays).values()]
    import ncnn

    net = ncnn.Net()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic"):
        setattr(net.opt, f"use_{option}", False)
    param = next(path.glob("*.param"))
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))
    with net.create_extractor() as extractor:
        for name, array in zip(net.input_names(), arrays, strict=True):
            extractor.input(name, ncnn.Mat(array[0]))
        return [np.array(extractor.extract(n)[1])[None] for n in sorted(net.output_names())]


@pytest.mark.parametrize("part", ["neck", "model"])
@pytest.mark.parametrize(("runtime", "packages"), [("openvino", "openvino"), ("ncnn", "ncnn pnnx")])
def test_other_runtimes_compute_the_same(
    part: str, runtime: str, packages: str, tmp_path: Path
) -> None:
    if any(find_spec(name) is None for name in packages.split()):
        pytest.skip(f"needs {packages}")
    torch.manual_seed(0)
    subject = Subject(enliven(empty_model("yolov5n-afpn.yaml")), part, 64, 1, tmp_path)
    arrays = [x.numpy() for x in subject.noise()]
    path = subject.made("onnxruntime", "fp32").path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    expected = session.run(None, dict(zip(names, arrays, strict=True)))
    found = outputs_in(runtime, subject.made(runtime, "fp32").path, arrays)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= 1e-3 * np.abs(other).max()


@pytest.mark.parametrize("part", ["neck", "model"])
@pytest.mark.parametrize(
    ("runtime", "precision", "packages"),
    [("openvino", "int8", "openvino nncf"), ("ncnn", "fp32", "ncnn pnnx")],
)
def test_rows_of_other_runtimes(part: str, runtime: str, precision: str, packages: str) -> None:
    if any(find_spec(name) is None for name in packages.split()):
        pytest.skip(f"needs {packages}")
    choice = Choice([part], [runtime], [precision], [64], [2])
    planned = cases([Neck("AFPN", "yolov5-afpn.yaml", "n")], choice)
    ((_, (row,)),) = Benchmark(1, 0, 1).measure(planned)
    assert (row["runtime"], row["precision"], row["batch"]) == (runtime, precision, 2)
    assert row["bytes"] > (0.15 if precision == "int8" else 0.9) * 4 * row["parameters"]
