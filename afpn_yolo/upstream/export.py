"""Models and necks in the formats of other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import onnxslim
import torch
from torch import nn
from ultralytics import YOLO

from afpn_yolo.upstream.models import save_checkpoint
from afpn_yolo.upstream.weights import randomize

try:
    from ultralytics.utils.export.engine import best_onnx_opset
except ImportError:  # in the first releases of 8.4
    from ultralytics.engine.exporter import best_onnx_opset


def export_model(
    model: nn.Module,
    folder: Path,
    format: str,
    imgsz: int,
    batch: int,
    int8_data: Path | None = None,
) -> Path:
    """Export a model by Ultralytics' own export.

    Args:
        model: The network, unfused.
        folder: Where the result and a checkpoint are written.
        format: As `yolo export format=`.
        imgsz: Side of the images in pixels.
        batch: Images at a time.
        int8_data: The data YAML to calibrate with; None leaves the model in float.

    Returns:
        The file or the folder.
    """
    checkpoint = folder / "model.pt"
    save_checkpoint(model, checkpoint)
    options: dict[str, Any] = {"int8": True, "data": str(int8_data)} if int8_data else {}
    exported = YOLO(checkpoint).export(
        format=format, imgsz=imgsz, batch=batch, device="cpu", verbose=False, **options
    )
    return Path(exported)


def onnx_difference(yaml: str, folder: Path, imgsz: int) -> float:
    """How far the exported ONNX of an untrained model is from PyTorch, on a random image.

    Args:
        yaml: The model, as `YOLO()` takes its name; it gets random weights, and is fused.
        folder: For the files.
        imgsz: Side of the image in pixels.

    Returns:
        The largest difference over all outputs, each as a share of its largest value (at least 1).
    """
    network: Any = randomize(YOLO(yaml).model)
    path = export_model(network, folder, "onnx", imgsz, 1)
    network.fuse(verbose=False)
    network.model[-1].export, network.model[-1].format = True, "onnx"
    image = torch.rand(1, 3, imgsz, imgsz, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = network(image)
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    results = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    pairs = [(torch.from_numpy(y), x) for y, x in zip(results, outputs, strict=True)]
    return max(float((y - x).abs().max() / max(1, x.abs().max())) for y, x in pairs)


def export_onnx(module: nn.Module, inputs: Sequence[torch.Tensor], path: Path) -> Path:
    """Export any module as Ultralytics exports a model: its opset, and slimmed by onnxslim."""
    names = [f"in{i}" for i in range(len(inputs))]
    torch.onnx.export(
        module,
        tuple(inputs),
        str(path),
        opset_version=best_onnx_opset(onnx),
        input_names=names,
        dynamo=False,
    )
    slim: Any = onnxslim.slim(onnx.load(path))
    slim.ir_version = min(slim.ir_version, 10)  # as Ultralytics' export limits it
    onnx.save(slim, path)
    return path
