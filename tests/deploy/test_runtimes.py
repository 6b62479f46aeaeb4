"""The runtimes that `pip install ".[bench]"` brings: same outputs, whole rows."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from afpn_yolo.compare.plan import Candidate
from afpn_yolo.deploy.cases import cases
from afpn_yolo.deploy.convert import Subject, size_of
from afpn_yolo.deploy.measure import Benchmark
from afpn_yolo.deploy.worker import work
from afpn_yolo.upstream.models import empty_model
from afpn_yolo.upstream.weights import randomize
from tests.processes import TINY


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


@pytest.fixture(scope="module", params=["neck", "model"])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    torch.manual_seed(0)
    model = randomize(empty_model("yolov5n-afpn.yaml"))
    return Subject(model, request.param, 64, 1, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize(("runtime", "packages"), [("openvino", "openvino"), ("ncnn", "ncnn pnnx")])
def test_other_runtimes_compute_the_same(subject: Subject, runtime: str, packages: str) -> None:
    if any(find_spec(name) is None for name in packages.split()):
        pytest.skip(f"needs {packages}")
    arrays = [x.numpy() for x in subject.noise()]
    session = onnxruntime.InferenceSession(
        subject.file("onnxruntime", "fp32"), providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]
    expected = session.run(None, dict(zip(names, arrays, strict=True)))
    path = subject.file(runtime, "fp32")
    found = outputs_in(runtime, path, arrays)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= 1e-3 * np.abs(other).max()
    # And they are timed; NCNN takes a batch image by image.
    shapes = [(2 if runtime == "ncnn" else 1, *shape[1:]) for shape in subject.shapes]
    job = {"runtime": runtime, "threads": 1, "runs": 2, "warmup": 0}
    ((first, second),) = work({**job, "models": [{"path": path, "shapes": shapes}]})["times"]
    assert min(first, second) > 0
    parameters = sum(p.numel() for p in subject.module(fused=True).parameters())
    assert size_of(path) > 0.9 * 4 * parameters


def test_a_row_of_another_runtime() -> None:
    if any(find_spec(name) is None for name in ("openvino", "nncf")):
        pytest.skip("needs openvino nncf")
    necks = [Candidate("AFPN", str(TINY))]  # NNCF's time goes by the layers
    planned = cases(necks, ["model"], ["openvino"], ["int8"], [64], [2])
    ((_, (row,)),) = Benchmark(1, 0, 1).measure(planned)
    assert (row["runtime"], row["precision"], row["batch"]) == ("openvino", "int8", 2)
    assert row["bytes"] > 0.15 * 4 * row["parameters"]
