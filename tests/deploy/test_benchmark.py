"""Benchmarks of necks: what is fed to runtimes, rows of a real run, what can't be run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from afpn_yolo.compare.plan import Candidate, parse_necks
from afpn_yolo.deploy.cases import cases
from afpn_yolo.deploy.convert import Subject
from afpn_yolo.deploy.measure import Benchmark, BenchmarkError, Row, open_model
from afpn_yolo.deploy.worker import pytorch
from afpn_yolo.plugin.lookup import shipped
from afpn_yolo.upstream.models import empty_model
from afpn_yolo.upstream.neck import NeckModule
from afpn_yolo.upstream.weights import randomize
from tests.processes import TINY, afpn, python

NUMBERS = ("parameters", "nodes", "bytes", "median_ms", "ratio_p10", "gflops")

TWO_LEVELS = """
nc: 3
backbone:
  - [-1, 1, Conv, [16, 3, 2]] # 0
  - [-1, 1, Conv, [32, 3, 2]] # 1
  - [-1, 1, Conv, [64, 3, 2]] # 2
head:
  - [1, 1, AFPNConv, [32]] # 3
  - [[3, 2], 1, AFPNFusion, [0]] # 4
  - [[-2, 2], 1, AFPNFusion, [1]] # 5
  - [[4, 5], 1, Detect, [nc]]
"""


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
    """Of two small models of the user's; INT8 is made from the float file."""
    (tmp_path / "own.yaml").write_text(TWO_LEVELS)
    models = ("--models", "PAFPN=own.yaml", f"AFPN={TINY}", "--json", "out/b.json")
    options = "--runtimes onnxruntime --precisions int8 --imgsz 64 --batch 2 --repeats 3 --warmup 1"
    result = afpn("benchmark", *models, *options.split(), cwd=tmp_path)
    path = tmp_path / "out" / "b.json"
    rows = json.loads(path.read_text())
    keys = ("part", "neck", "runtime", "precision", "imgsz", "batch", "runs", "warmup")
    assert [tuple(row[key] for key in keys) for row in rows] == [
        (part, neck, "onnxruntime", "int8", 64, 2, 3, 1)
        for part in ("neck", "model")
        for neck in ("PAFPN", "AFPN")
    ]
    for row in rows:
        assert set(row) == set(Row.__annotations__)
        assert all(row[key] > 0 for key in NUMBERS)
        assert row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
        assert row["load"] >= 0
        assert 0 < row["base_memory_mb"] < row["peak_memory_mb"]
        assert row["versions"]["torch"] == torch.__version__.partition("+")[0]
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        assert one["ratio_to_baseline"] == 1
        ratio = two["median_ms"] / one["median_ms"]
        assert two["ratio_to_baseline"] == pytest.approx(ratio, rel=0.01)
    assert path.with_suffix(".md").read_text() in result.stdout
    assert path.with_suffix(".png").stat().st_size > 5000


def test_pytorch_goes_forward_and_in_training_backward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject(randomize(empty_model(str(TINY))), "neck", 64, 2, tmp_path)
    arrays = [x.numpy() for x in subject.noise()]
    pytorch(subject.file("pytorch", "fp32"), arrays, 1)()
    module = torch.load(subject.file("pytorch-train", "fp32"), weights_only=False)
    monkeypatch.setattr(torch, "load", lambda *args, **options: module)
    call = pytorch(tmp_path, arrays, 1, train=True)
    call()
    assert module.training
    first = [p.grad.clone() for p in module.parameters()]
    assert sum(bool(g.any()) for g in first) > 0.8 * len(first)
    call()
    for one, other in zip(first, module.parameters(), strict=True):  # not added up
        assert torch.allclose(one, other.grad, rtol=1e-2, atol=1e-4 + 1e-2 * float(one.abs().max()))


def test_a_scale_of_the_users_own_yaml_is_the_one_that_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ultralytics reads no scale from `own5s.yaml`."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(str(shipped("models", "yolov5-afpn.yaml")), "own5.yaml")
    for neck in parse_necks(["own=own5.yaml"], ["n", "s"]):
        expected = empty_model("yolov5-afpn.yaml", scale=neck.scale)
        counts = [sum(p.numel() for p in m.parameters()) for m in (open_model(neck), expected)]
        assert counts[0] == counts[1]


def test_memory_is_of_the_runtime_alone(tmp_path: Path) -> None:
    """Neither torch nor the memory of the process that starts a worker counts."""
    code = (
        "import subprocess, sys, numpy, afpn_yolo.deploy.worker\n"
        "assert not {'torch', 'ultralytics', 'onnx'} & {*sys.modules}\n"
        "large = numpy.ones(50_000_000)\n"  # 400 MB
        "ask = 'from afpn_yolo.deploy.worker import peak; print(peak())'\n"
        "print(subprocess.run([sys.executable, '-c', ask], stdout=-1, text=True).stdout)"
    )
    assert 5 < float(python(code, tmp_path)) < 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--models none5n.yaml", "no such"),
        ("--imgsz 100", "32"),
        ("--json rows.txt", ".json"),
    ],
)
def test_mistakes(options: str, message: str, tmp_path: Path) -> None:
    result = afpn("benchmark", "--quick", *options.split(), cwd=tmp_path, fails=True)
    assert result.returncode == 2
    assert message in result.stderr


def test_what_fails_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("no such operator")

    planned = cases([Candidate("tiny", str(TINY))], ["neck"], ["pytorch"], ["fp32"], [64], [1])
    for threads, message in (
        (-7, r"neck pytorch fp32 64 x1: exit code 1: .*threads"),
        (1, "tiny: the export failed: no such operator"),
    ):
        with pytest.raises(BenchmarkError, match=message):
            [*Benchmark(1, 0, threads).measure(planned)]
        monkeypatch.setattr("afpn_yolo.deploy.convert.export_onnx", fail)
