"""Benchmarks of necks: what is fed to runtimes, rows of a real run, what can't be run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from afpn_yolo.compare.plan import PAPER, Candidate, parse_necks
from afpn_yolo.deploy.cases import cases
from afpn_yolo.deploy.convert import Subject
from afpn_yolo.deploy.measure import Benchmark, BenchmarkError
from afpn_yolo.deploy.table import Row
from afpn_yolo.deploy.worker import train_step
from afpn_yolo.plugin.lookup import shipped
from afpn_yolo.upstream.models import empty_model
from afpn_yolo.upstream.neck import NeckModule, feature_shapes, gflops
from afpn_yolo.upstream.weights import randomize
from tests.processes import afpn, python

NUMBERS = ("batch", "nodes", "bytes", "warmup", "threads", "median_ms", "ratio_p10", "gflops")

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
  - [[-2, 2], 1, AFPNFusion, [1]] # 5
  - [[4, 5], 1, Detect, [nc]]
"""


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
    assert sum(p.numel() for p in NeckModule(model).parameters()) == parameters
    # Ultralytics' own `fuse`: ours goes on to merge the squeezes, which adds zeros.
    fused = NeckModule(type(model).fuse.__wrapped__(model, verbose=False))
    assert gflops(fused, shapes) == pytest.approx(operations, abs=5e-4)


def test_the_neck_alone_gives_what_the_head_gets_in_the_model() -> None:
    torch.manual_seed(0)
    model: Any = randomize(empty_model("yolov5n-afpn.yaml"))
    heard: dict[int, Any] = {}
    for row in model.model:
        row.register_forward_hook(lambda m, args, out: heard.update({m.i: (args, out)}))
    with torch.no_grad():
        model(torch.rand(1, 3, 96, 96))
        neck = NeckModule(model)
        outputs = neck(*(heard[row][1] for row in neck.inputs))
    for output, expected in zip(outputs, heard[29][0][0], strict=True):
        assert torch.equal(output, expected)
        assert output.std() > 0.01  # lively


@pytest.mark.parametrize("part", ["neck", "model"])
def test_a_model_of_grey_images_gets_grey_ones(part: str, tmp_path: Path) -> None:
    model = empty_model("yolov5n-afpn.yaml", channels=1)
    subject = Subject(model, part, 64, 1, tmp_path)
    assert len(subject.module(fused=False)(*subject.noise())) > 1


@pytest.mark.parametrize("name", ["yolov5n.yaml", "yolov5n-afpn.yaml"])
def test_a_randomized_model_holds_no_tiny_and_no_huge_numbers(name: str) -> None:
    model: Any = randomize(empty_model(name))
    deviations: list[float] = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda m, args, out: deviations.append(float(out.std())))
    seeded = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model(torch.rand(1, 3, 96, 96, generator=seeded))
    assert min(deviations) > 0.05
    assert max(deviations) < 20


def test_rows_of_a_run(tmp_path: Path) -> None:
    models = ("--models", *PAPER["IV"], "--scales", "n", "--precisions", "fp32", "int8")
    options = ("--quick", "--imgsz", "64", "--repeats", "3", "--warmup", "1", "--parts", "neck")
    runtimes = ("--runtimes", "pytorch", "onnxruntime")
    path = tmp_path / "out" / "b.json"
    result = afpn("benchmark", *options, *models, *runtimes, "--json", path, cwd=tmp_path)
    rows = json.loads(path.read_text())
    ways = [(r["runtime"], r["precision"]) for r in rows]
    expected = [("pytorch", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "int8")]
    assert ways == [way for way in expected for _ in range(2)]
    for row in rows:
        assert set(row) == set(Row.__annotations__)
        assert all(row[key] > 0 for key in NUMBERS)
        assert row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
        assert (row["scale"], row["part"], row["imgsz"], row["runs"]) == ("n", "neck", 64, 3)
        assert row["load"] >= 0
        assert 0 < row["base_memory_mb"] < row["peak_memory_mb"]
        assert row["versions"]["torch"] == torch.__version__.partition("+")[0]
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        assert (one["neck"], two["neck"]) == ("PAFPN", "AFPN")
        assert (one["parameters"], two["parameters"]) == (710_784, 508_565)
        assert one["ratio_to_baseline"] == 1
        ratio = two["median_ms"] / one["median_ms"]
        assert two["ratio_to_baseline"] == pytest.approx(ratio, rel=0.01)
        assert one["nodes"] < two["nodes"]
    assert rows[4]["bytes"] < 0.4 * rows[2]["bytes"]  # int8
    assert path.with_suffix(".md").read_text() in result.stdout
    assert path.with_suffix(".png").stat().st_size > 5000


def test_training_goes_forward_and_backward(tmp_path: Path) -> None:
    model = randomize(empty_model("yolov5n-afpn.yaml"))
    subject = Subject(model, "neck", 64, 2, tmp_path)
    module = torch.load(subject.file("pytorch-train", "fp32"), weights_only=False)
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
    # INT8 is made from the float file.
    planned = cases(necks, ["neck", "model"], ["onnxruntime"], ["int8"], [64], [2])
    measured = [row for _, rows in Benchmark(1, 0, 1).measure(planned) for row in rows]
    assert [(row["neck"], row["part"]) for row in measured] == [("own5", "neck"), ("own5", "model")]
    assert [row["ratio_to_baseline"] for row in measured] == [1, 1]


def test_a_scale_of_the_users_own_yaml_is_the_one_that_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ultralytics reads no scale from `own5s.yaml`."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(str(shipped("models", "yolov5-afpn.yaml")), "own5.yaml")
    bench = Benchmark(1, 0, 1)
    for neck in parse_necks(["own=own5.yaml"], ["n", "s"]):
        expected = empty_model("yolov5-afpn.yaml", scale=neck.scale)
        counts = [sum(p.numel() for p in m.parameters()) for m in (bench._model(neck), expected)]
        assert counts[0] == counts[1]
    with pytest.raises(ValueError, match=r"own5\.yaml has no scale t"):
        bench._model(Candidate("own", "own5.yaml", "t"))


def test_memory_is_of_the_runtime_alone(tmp_path: Path) -> None:
    """Neither torch nor the memory of the process that starts a worker counts."""
    code = (
        "import subprocess, sys, numpy, afpn_yolo.deploy.worker\n"
        "assert not {'torch', 'ultralytics', 'onnx'} & {*sys.modules}\n"
        "large = numpy.ones(100_000_000)\n"  # 800 MB
        "ask = 'from afpn_yolo.deploy.worker import peak; print(peak())'\n"
        "print(subprocess.run([sys.executable, '-c', ask], stdout=-1, text=True).stdout)"
    )
    assert 5 < float(python(code, tmp_path)) < 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--models none5n.yaml", "no such"),
        ("--models yolov5n.yaml --scales s", "scale"),
        ("--models a=yolov5.yaml a=yolov5.yaml", "twice"),
        ("--imgsz 100", "32"),
        ("--repeats 0", "at least 1"),
        ("--json rows.txt", ".json"),
    ],
)
def test_mistakes(options: str, message: str, tmp_path: Path) -> None:
    usual = ("--quick", "--runtimes", "pytorch", "--parts", "neck")
    result = afpn("benchmark", *usual, *options.split(), cwd=tmp_path, fails=True)
    assert result.returncode == 2
    assert message in result.stderr


def test_what_fails_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("no such operator")

    necks = [Candidate("PAFPN", "yolov5.yaml", "n")]
    planned = cases(necks, ["neck"], ["pytorch"], ["fp32"], [64], [1])
    for threads, message in (
        (-7, r"n neck pytorch fp32 64 x1: exit code 1: .*threads"),
        (1, "PAFPN-n: the export failed: no such operator"),
    ):
        with pytest.raises(BenchmarkError, match=message):
            [*Benchmark(1, 0, threads).measure(planned)]
        monkeypatch.setattr("afpn_yolo.deploy.convert.export_onnx", fail)
