"""A process that opens models in one runtime, times them in turn and measures its memory.

It reads a job from standard input and writes the answer, both JSON. It imports torch only to run
PyTorch, so that the memory it reports is the runtime's.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from afpn_yolo.deploy.timing import Call, alternate

STATUS = Path("/proc/self/status")
Arrays = list[NDArray[np.float32]]


def pytorch(path: Path, inputs: Arrays, threads: int, train: bool = False) -> Call:
    """A pickled module: forward, or forward and backward to the gradients of its inputs, too."""
    import torch

    torch.set_num_threads(threads)
    module = torch.load(path, weights_only=False).train(train)
    tensors = [torch.from_numpy(x).requires_grad_(train) for x in inputs]

    def forward() -> None:
        with torch.inference_mode():
            module(*tensors)

    def step() -> None:
        for tensor in (*tensors, *module.parameters()):
            tensor.grad = None
        outputs = module(*tensors)
        torch.autograd.backward(outputs, [torch.ones_like(y) for y in outputs])

    return step if train else forward


def onnxruntime(path: Path, inputs: Arrays, threads: int) -> Call:
    """An ONNX file."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Else this session's threads go on spinning for a while, and the next model's run pays.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    feed = dict(zip(names, inputs, strict=True))
    return lambda: session.run(None, feed)


def openvino(path: Path, inputs: Arrays, threads: int) -> Call:
    """An OpenVINO folder. What is not 8-bit computes in float32: the default may be bfloat16."""
    import openvino as ov

    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = ov.Core()
    model = core.compile_model(str(next(path.glob("*.xml"))), "CPU", config)
    request = model.create_infer_request()
    return lambda: request.infer(inputs, share_inputs=True, share_outputs=True)


def ncnn(path: Path, inputs: Arrays, threads: int) -> Call:
    """An NCNN folder, in float32. A batch runs image by image, as in Ultralytics."""
    import ncnn as runtime

    net = runtime.Net()
    net.opt.num_threads = threads
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic"):
        setattr(net.opt, f"use_{option}", False)
    param = next(path.glob("*.param"))
    if net.load_param(str(param)) or net.load_model(str(param.with_suffix(".bin"))):
        raise RuntimeError(f"NCNN can't open {path}")
    names, outputs = net.input_names(), sorted(net.output_names())
    images = [[x[i] for x in inputs] for i in range(len(inputs[0]))]

    def call() -> list[Any]:
        results = []
        for features in images:
            with net.create_extractor() as extractor:
                for name, feature in zip(names, features, strict=True):
                    extractor.input(name, runtime.Mat(feature))
                for name in outputs:
                    code, result = extractor.extract(name)
                    if code:
                        raise RuntimeError(f"NCNN can't compute {name} of {path}")
                    results.append(result)
        return results

    return call


OPENERS: dict[str, Callable[[Path, Arrays, int], Call]] = {
    "pytorch": pytorch,
    "pytorch-train": partial(pytorch, train=True),
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "ncnn": ncnn,
}


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job.

    Args:
        job: `runtime`, `threads`, `runs`, `warmup`, and `models`: the `path` and the `shapes` of
            the inputs of each.

    Returns:
        `times`: milliseconds of each model and round; `peak_mb` of the whole process; `base_mb`,
        its peak before the first model was opened.
    """
    generator, base, calls = np.random.default_rng(0), peak(), []
    for model in job["models"]:
        inputs = [generator.random(shape, np.float32) for shape in model["shapes"]]
        calls.append(OPENERS[job["runtime"]](Path(model["path"]), inputs, job["threads"]))
    times = alternate(calls, job["runs"], job["warmup"])
    return {"times": times, "peak_mb": peak(), "base_mb": base}


def peak() -> float:
    """Largest resident size so far, in MB (10^6 bytes).

    On Linux from /proc: `getrusage` there begins with the size of the process that started this
    one.
    """
    if STATUS.exists():
        line = next(x for x in STATUS.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource  # on macOS, in bytes

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    # Libraries print to standard output, too: what they print there goes to standard error.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as _answer:
        os.dup2(2, 1)
        json.dump(work(json.load(sys.stdin)), _answer)
