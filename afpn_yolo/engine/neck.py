"""The neck of a model as a module of its own, and what a module costs."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import thop
import torch
from torch import Tensor, nn

from afpn_yolo.engine.rows import backbone_rows, head_sources, run_rows, sources_of

Shapes = list[tuple[int, ...]]


class Neck(nn.Module):
    """All rows behind the backbone, up to the detection head, which is the last row.

    Args:
        model: The whole model; its rows are shared, not copied.

    Attributes:
        inputs: The rows of the backbone whose features go in, in order.
        outputs: The rows whose features come out: what the head reads.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        rows: Any = model.model
        first = backbone_rows(model)
        self.outputs = head_sources(model)
        read = {*self.outputs, *(f for row in rows[first:-1] for f in sources_of(row))}
        self.inputs = sorted(i for i in read if i < first)
        # Empty rows stand for the backbone's, so that the others keep their numbers.
        self.rows = nn.Sequential(*(nn.Identity() for _ in range(first)), *rows[first:-1])
        self._first = first

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """From the backbone's (B, C_i, H_i, W_i) to what the head reads."""
        known = dict(zip(self.inputs, features, strict=True))
        known = run_rows(self.rows, known, range(self._first, len(self.rows)))
        return tuple(known[row] for row in self.outputs)


def image_shapes(batch: int, imgsz: int) -> Shapes:
    """What a whole model takes."""
    return [(batch, 3, imgsz, imgsz)]


@torch.inference_mode()
def feature_shapes(model: nn.Module, batch: int, imgsz: int) -> Shapes:
    """What the neck of a model takes, by a run of its backbone."""
    rows: Any = model.model
    image = torch.zeros(1, 3, imgsz, imgsz)
    outputs = run_rows(rows, {-1: image}, range(backbone_rows(model)))
    return [(batch, *outputs[row].shape[1:]) for row in Neck(model).inputs]


def gflops(module: nn.Module, shapes: Sequence[tuple[int, ...]]) -> float:
    """Two operations per multiply-add of the module's layers, in 10^9, by Ultralytics' counter."""
    inputs = tuple(torch.zeros(shape) for shape in shapes)
    operations = thop.profile(deepcopy(module).eval(), inputs=inputs, verbose=False)[0]
    return float(2 * operations / 1e9)


def enliven(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give an untrained model weights and statistics with which no value dies out or explodes.

    Numbers too small for float32's usual form cost a processor many times the time of others.
    """
    generator = torch.Generator().manual_seed(seed)
    norms: list[Any] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.1, generator=generator)
            module.reset_running_stats()
            norms.append((module, module.momentum))
            module.momentum = None  # the average over what follows
    model.train()
    with torch.no_grad():
        model(torch.rand(2, 3, 128, 128, generator=generator))
    for module, momentum in norms:
        module.momentum = momentum
    return model.eval()
