"""Models and necks in the formats of other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxslim
import torch
from torch import nn
from ultralytics import YOLO

from afpn_yolo.upstream.models import save_checkpoint

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
