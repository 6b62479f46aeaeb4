"""The runtimes that `pip install ".[bench]"` brings: same outputs, whole rows."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from afpn_yolo.bench.cases import Choice, cases
from afpn_yolo.bench.convert import Subject
from afpn_yolo.bench.measure import Benchmark
from afpn_yolo.compare.plan import Candidate
from afpn_yolo.upstream.enliven import enliven
from afpn_yolo.upstream.models import empty_model


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
    path = subject.made("onnxruntime", "fp32")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    expected = session.run(None, dict(zip(names, arrays, strict=True)))
    found = outputs_in(runtime, subject.made(runtime, "fp32"), arrays)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= 1e-3 * np.abs(other).max()


@pytest.mark.parametrize(
    ("part", "runtime", "precision", "packages"),
    [("model", "openvino", "int8", "openvino nncf"), ("neck", "ncnn", "fp32", "ncnn pnnx")],
)
def test_rows_of_other_runtimes(part: str, runtime: str, precision: str, packages: str) -> None:
    if any(find_spec(name) is None for name in packages.split()):
        pytest.skip(f"needs {packages}")
    choice = Choice([part], [runtime], [precision], [64], [2])
    planned = cases([Candidate("AFPN", "yolov5-afpn.yaml", "n")], choice)
    ((_, (row,)),) = Benchmark(1, 0, 1).measure(planned)
    assert (row["runtime"], row["precision"], row["batch"]) == (runtime, precision, 2)
    assert row["bytes"] > (0.15 if precision == "int8" else 0.9) * 4 * row["parameters"]
