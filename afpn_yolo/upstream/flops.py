"""What a module takes and what it costs: shapes of its inputs, and its operations."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import thop
import torch
from torch import nn

from afpn_yolo.base.yaml_rows import backbone_rows, image_channels
from afpn_yolo.upstream.neck import NeckModule
from afpn_yolo.upstream.rows import run_rows

Shapes = list[tuple[int, ...]]


@torch.inference_mode()
def feature_shapes(model: nn.Module, batch: int, imgsz: int) -> Shapes:
    """What the neck of a model takes, by a run of its backbone."""
    rows: Any = model.model
    device = next(rows.parameters()).device
    image = torch.zeros(1, image_channels(model), imgsz, imgsz, device=device)
    outputs = run_rows(rows, {-1: image}, range(backbone_rows(model)))
    return [(batch, *outputs[row].shape[1:]) for row in NeckModule(model).inputs]


def gflops(module: nn.Module, shapes: Sequence[tuple[int, ...]]) -> float:
    """Two operations per multiply-add of the module's layers, in 10^9, by Ultralytics' counter."""
    device = next(module.parameters(), torch.empty(0)).device  # a neck may have none
    inputs = tuple(torch.zeros(shape, device=device) for shape in shapes)
    operations = thop.profile(deepcopy(module).eval(), inputs=inputs, verbose=False)[0]
    return float(2 * operations / 1e9)
