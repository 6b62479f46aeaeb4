"""The neck of a model as a module of its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from afpn_yolo.base.yaml_rows import backbone_rows
from afpn_yolo.upstream.rows import head_sources, run_rows, sources_of


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
