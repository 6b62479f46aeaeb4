"""The runtimes that `pip install ".[bench]"` brings: same outputs, whole rows."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from afpn_yolo.compare.plan import Candidate
from afpn_yolo.deploy.cases import cases
from afpn_yolo.deploy.convert import Subject, size_of
from afpn_yolo.deploy.measure import Benchmark
from afpn_yolo.deploy.worker import OPENERS, work
from afpn_yolo.upstream.models import empty_model
from afpn_yolo.upstream.weights import randomize
from tests.processes import TINY


def skip_without(packages: str) -> None:
    if any(find_spec(name) is None for name in packages.split()):
        pytest.skip(f"needs {packages}")


@pytest.mark.parametrize("part", ["neck", "model"])
@pytest.mark.parametrize(("runtime", "packages"), [("openvino", "openvino"), ("ncnn", "ncnn pnnx")])
def test_other_runtimes_compute_the_same(
    part: str, runtime: str, packages: str, tmp_path: Path
) -> None:
    skip_without(packages)
    torch.manual_seed(0)
    subject = Subject(randomize(empty_model(str(TINY))), part, 64, 1, tmp_path)
    path, arrays = subject.file(runtime, "fp32"), [x.numpy() for x in subject.noise()]
    expected: Any = OPENERS["onnxruntime"](subject.file("onnxruntime", "fp32"), arrays, 1)()
    outputs: Any = OPENERS[runtime](path, arrays, 1)()
    for one, other in zip(
        outputs.values() if runtime == "openvino" else outputs, expected, strict=True
    ):
        difference = np.array(one).reshape(other.shape) - other
        assert np.abs(difference).max() <= 1e-3 * np.abs(other).max()
    # And they are timed; NCNN takes a batch image by image.
    shapes = [(2 if runtime == "ncnn" else 1, *shape[1:]) for shape in subject.shapes]
    job = {"runtime": runtime, "threads": 1, "runs": 2, "warmup": 0}
    ((first, second),) = work({**job, "models": [{"path": path, "shapes": shapes}]})["times"]
    assert min(first, second) > 0
    parameters = sum(p.numel() for p in subject.module(fused=True).parameters())
    assert size_of(path) > 0.9 * 4 * parameters


def test_a_row_of_another_runtime() -> None:
    skip_without("openvino nncf")
    necks = [Candidate("AFPN", str(TINY))]  # NNCF's time goes by the layers
    planned = cases(necks, ["model"], ["openvino"], ["int8"], [64], [2])
    ((_, (row,)),) = Benchmark(1, 0, 1).measure(planned)
    assert (row["runtime"], row["precision"], row["batch"]) == ("openvino", "int8", 2)
    assert row["bytes"] > 0.15 * 4 * row["parameters"]
