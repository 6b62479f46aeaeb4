"""Convert a model or its neck into the file that each runtime opens."""

from __future__ import annotations

from copy import deepcopy
from functools import cached_property
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
FORMATS = {"onnxruntime": "onnx", "openvino": "openvino", "ncnn": "ncnn"}
"""What Ultralytics' export calls the file of a runtime."""


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

    def calibration(self) -> list[list[NDArray[np.float32]]]:
        """Random inputs to calibrate with."""
        return [[x.numpy() for x in self.noise()] for _ in range(CALIBRATION)]

    @cached_property
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
            self._files[key] = _write(self, runtime, precision == "int8", folder)
        return self._files[key]


def size_of(path: Path) -> int:
    """Bytes of the files that a runtime needs."""
    if path.is_file():
        return path.stat().st_size
    needed = (".xml", ".bin", ".param")
    return sum(file.stat().st_size for file in path.iterdir() if file.suffix in needed)


def _write(subject: Subject, runtime: str, int8: bool, folder: Path) -> Path:
    if runtime.startswith("pytorch"):
        torch.save(subject.module(fused=runtime == "pytorch"), folder / "module.pt")
        return folder / "module.pt"
    if runtime == "onnxruntime" and int8:
        return _onnx_int8(subject, folder)
    if subject.part == "model":
        # Ultralytics runs NCNN image by image, and calibrates on images.
        batch = 1 if runtime == "ncnn" else subject.batch
        data = None
        if int8:
            data = generate(folder / "data", 1, max(CALIBRATION, batch)) / "data.yaml"
        return export_model(subject.model, folder, FORMATS[runtime], subject.imgsz, batch, data)
    if runtime == "onnxruntime":
        return export_onnx(subject.module(fused=True), subject.noise(), folder / "neck.onnx")
    return _ncnn(subject, folder) if runtime == "ncnn" else _openvino(subject, int8, folder)


def _onnx_int8(subject: Subject, folder: Path) -> Path:
    source, target = subject.file("onnxruntime", "fp32"), folder / "int8.onnx"
    names = [value.name for value in onnx.load(source).graph.input]
    noise = (dict(zip(names, arrays, strict=True)) for arrays in subject.calibration())
    quantize(source, target, noise, detector=subject.part == "model")
    return target


def _openvino(subject: Subject, int8: bool, folder: Path) -> Path:
    import openvino as ov

    model = ov.convert_model(subject.file("onnxruntime", "fp32"))
    if int8:
        import nncf

        data = nncf.Dataset(subject.calibration())
        model = nncf.quantize(model, data, preset=nncf.QuantizationPreset.MIXED)
    ov.save_model(model, folder / "neck.xml", compress_to_fp16=False)
    return folder


def _ncnn(subject: Subject, folder: Path) -> Path:
    import pnnx

    # Beside what the runtime opens, it writes five files that nothing needs.
    (folder / "rest").mkdir()
    pnnx.export(
        subject.module(fused=True),
        str(folder / "rest" / "neck.pt"),
        inputs=tuple(subject.noise(batch=1)),  # one image at a time, as Ultralytics calls it
        ncnnparam=str(folder / "neck.param"),
        ncnnbin=str(folder / "neck.bin"),
        fp16=False,
    )
    return folder
