"""Rows of a model: which are what, and running some of them alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from afpn_yolo.base.yaml_rows import absolute


def head_sources(model: nn.Module) -> list[int]:
    """The rows that the last row, the detection head, reads; finest level first."""
    rows: Any = model.model
    return sources_of(rows[-1])


def run_rows(
    rows: nn.Sequential, outputs: dict[int, Tensor], which: Iterable[int]
) -> dict[int, Tensor]:
    """Run some rows of a model.

    Args:
        rows: All rows: `model.model`.
        outputs: What is known so far, by row; the image (B, C, H, W) is row -1.
        which: The rows to run, in order.

    Returns:
        `outputs` and what was computed.
    """
    outputs = dict(outputs)
    for i in which:
        layer = rows[i]
        taken = [outputs[f] for f in sources_of(layer)]
        outputs[i] = layer(taken if isinstance(layer.f, list) else taken[0])
    return outputs


def sources_of(layer: nn.Module) -> list[int]:
    """The rows that a row reads, counted from the first; -1 is the image."""
    row: Any = layer.i  # what Ultralytics' parser attaches
    source: Any = layer.f
    return absolute(source, row)
