"""Convert a model or its neck into the file that each runtime opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from afpn_yolo.base.yaml_rows import image_channels
from afpn_yolo.deploy.quantize import quantize
from afpn_yolo.shapes import generate
from afpn_yolo.upstream.export import export_model, export_onnx
from afpn_yolo.upstream.neck import NeckModule, Shapes, feature_shapes, gflops

CALIBRATION = 8  # batches of noise or pictures: we measure speed, not accuracy


class Subject:
    """A model or its neck at one size and batch; a file is written when it is first needed.

    Args:
        model: The whole model, unfused.
        part: `neck` or `model`.
        imgsz: Side of the images in pixels.
        batch: Images at a time.
        folder: For the files; it must exist.
    """

    def __init__(self, model: nn.Module, part: str, imgsz: int, batch: int, folder: Path) -> None:
        self.model, self.part = model, part
        self.imgsz, self.batch, self.folder = imgsz, batch, folder
        self.shapes: Shapes = [(batch, image_channels(model), imgsz, imgsz)]
        if part == "neck":
            self.shapes = feature_shapes(model, batch, imgsz)
        self._files: dict[tuple[str, str], Path] = {}

    def module(self, fused: bool) -> nn.Module:
        """A copy of the part in PyTorch."""
        model: Any = deepcopy(self.model).eval()
        if fused:
            model.fuse(verbose=False)
        return NeckModule(model) if self.part == "neck" else model

    def noise(self, batch: int | None = None) -> list[torch.Tensor]:
        """Random inputs."""
        return [torch.rand(batch or shape[0], *shape[1:]) for shape in self.shapes]

    def cost(self) -> dict[str, float]:
        """Parameters and, for one image, GFLOPs, before fusing; nodes of the slimmed ONNX graph."""
        module = self.module(fused=False)
        return {
            "parameters": sum(p.numel() for p in module.parameters()),
            "gflops": round(gflops(module, [(1, *shape[1:]) for shape in self.shapes]), 4),
            "nodes": len(onnx.load(self.file("onnxruntime", "fp32")).graph.node),
        }

    def file(self, runtime: str, precision: str) -> Path:
        """The file or folder that a runtime opens."""
        key = (runtime, precision)
        if key not in self._files:
            folder = self.folder / f"{runtime}-{precision}"
            folder.mkdir()
            self._files[key] = MAKERS[key](self, folder)
        return self._files[key]


def size_of(path: Path) -> int:
    """Bytes of the files that a runtime needs."""
    if path.is_file():
        return path.stat().st_size
    needed = (".xml", ".bin", ".param")
    return sum(file.stat().st_size for file in path.iterdir() if file.suffix in needed)


def _pickled(subject: Subject, folder: Path, fused: bool = True) -> Path:
    torch.save(subject.module(fused), folder / "module.pt")
    return folder / "module.pt"


def _onnx(subject: Subject, folder: Path) -> Path:
    if subject.part == "model":
        return export_model(subject.model, folder, "onnx", subject.imgsz, subject.batch)
    return export_onnx(subject.module(fused=True), subject.noise(), folder / "neck.onnx")


def _noise(subject: Subject) -> Iterator[list[NDArray[np.float32]]]:
    """Random inputs to calibrate with."""
    for _ in range(CALIBRATION):
        yield [x.numpy() for x in subject.noise()]


def _onnx_int8(subject: Subject, folder: Path) -> Path:
    source, target = subject.file("onnxruntime", "fp32"), folder / "int8.onnx"
    names = [value.name for value in onnx.load(source).graph.input]
    noise = (dict(zip(names, arrays, strict=True)) for arrays in _noise(subject))
    quantize(source, target, noise, detector=subject.part == "model")
    return target


def _openvino(subject: Subject, folder: Path) -> Path:
    if subject.part == "model":
        return export_model(subject.model, folder, "openvino", subject.imgsz, subject.batch)
    import openvino as ov

    model = ov.convert_model(subject.file("onnxruntime", "fp32"))
    ov.save_model(model, folder / "neck.xml", compress_to_fp16=False)
    return folder


def _openvino_int8(subject: Subject, folder: Path) -> Path:
    if subject.part == "model":
        # Ultralytics' export calibrates on images.
        data = generate(folder / "data", 1, max(CALIBRATION, subject.batch)) / "data.yaml"
        return export_model(subject.model, folder, "openvino", subject.imgsz, subject.batch, data)
    import nncf
    import openvino as ov

    source = subject.file("openvino", "fp32") / "neck.xml"
    data = nncf.Dataset([*_noise(subject)])
    model = nncf.quantize(ov.Core().read_model(source), data, preset=nncf.QuantizationPreset.MIXED)
    ov.save_model(model, folder / "neck.xml", compress_to_fp16=False)
    return folder


def _ncnn(subject: Subject, folder: Path) -> Path:
    if subject.part == "model":
        return export_model(subject.model, folder, "ncnn", subject.imgsz, 1)
    import pnnx

    result = folder / "neck"
    result.mkdir()
    # In float32 and one image at a time, as Ultralytics calls it. It wants to write all of these.
    rest = {"ptpath": "neck.pt", "pnnxparam": "pnnx.param", "pnnxbin": "pnnx.bin"}
    rest |= {"pnnxpy": "neck_pnnx.py", "pnnxonnx": "pnnx.onnx", "ncnnpy": "neck_ncnn.py"}
    pnnx.export(
        subject.module(fused=True),
        inputs=tuple(subject.noise(batch=1)),
        ncnnparam=str(result / "neck.param"),
        ncnnbin=str(result / "neck.bin"),
        fp16=False,
        **{key: str(folder / name) for key, name in rest.items()},
    )
    return result


MAKERS: dict[tuple[str, str], Callable[[Subject, Path], Path]] = {
    ("pytorch", "fp32"): _pickled,
    ("pytorch-train", "fp32"): partial(_pickled, fused=False),
    ("onnxruntime", "fp32"): _onnx,
    ("onnxruntime", "int8"): _onnx_int8,
    ("openvino", "fp32"): _openvino,
    ("openvino", "int8"): _openvino_int8,
    ("ncnn", "fp32"): _ncnn,
}
