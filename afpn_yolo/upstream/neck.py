"""Parts of a model: some of its rows, its neck as a module, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import thop
import torch
from torch import Tensor, nn

from afpn_yolo.base.yaml_rows import backbone_rows, image_channels
from afpn_yolo.graft.shapes import run_rows, sources_of

Shapes = list[tuple[int, ...]]


class NeckModule(nn.Module):
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
        self.outputs = sources_of(rows[-1])
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


def class_scores(head: Any, levels: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    """Class scores (B, nc, H_i, W_i) of a detection head; None for one without a branch for them.

    Of two sets of branches, as in YOLO26, those that predict.
    """
    branches = getattr(head, "one2one_cv3", None) or getattr(head, "cv3", None)
    if branches is None or branches[0][-1].out_channels != head.nc:  # or cv3 embeds, as YOLO-World
        return None
    pairs = zip(branches, levels, strict=True)
    return tuple(branch(level).sigmoid() for branch, level in pairs)


@torch.inference_mode()
def feature_shapes(model: nn.Module, batch: int, imgsz: int) -> Shapes:
    """Shapes of the neck's inputs, found by running the backbone."""
    rows: Any = model.model
    device = next(rows.parameters()).device
    image = torch.zeros(1, image_channels(model), imgsz, imgsz, device=device)
    outputs = run_rows(rows, {-1: image}, range(backbone_rows(model)))
    return [(batch, *outputs[row].shape[1:]) for row in NeckModule(model).inputs]


def gflops(module: nn.Module, shapes: Sequence[tuple[int, ...]]) -> float:
    """GFLOPs of a module as it is, unfused unless it was fused: Ultralytics' counter, thop.

    Two operations per multiply-add; only layers count, no bare functions such as attention.
    """
    device = next(module.parameters(), torch.empty(0)).device  # a neck may have none
    inputs = tuple(torch.zeros(shape, device=device) for shape in shapes)
    operations = thop.profile(deepcopy(module).eval(), inputs=inputs, verbose=False)[0]
    return float(2 * operations / 1e9)
