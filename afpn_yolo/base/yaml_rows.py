"""Rows of a model YAML, `[from, number, module, args]`, and of models that are built of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def absolute(source: int | list[int], row: int) -> list[int]:
    """The rows that a row reads, counted from the first.

    Args:
        source: What stands in `from`: one row or several; below zero, counted back from the row.
        row: Its own number.

    Returns:
        Numbers of rows; -1 is the image, which the first row reads.
    """
    listed = source if isinstance(source, list) else [source]
    return [row + f if f < 0 else f for f in listed]


def torchvision_args(d: Mapping[str, Any]) -> list[list[Any]]:
    """The arguments of the `TorchVision` rows of a model YAML: [channels, network, weights, ...].

    What stands for the weights is downloaded, "DEFAULT" where nothing does; None isn't.
    """
    parts = (d.get(part) for part in ("backbone", "head"))
    rows = [row for part in parts if isinstance(part, list) for row in part]
    return [row[3] for row in rows if isinstance(row, list) and row[2:3] == ["TorchVision"]]


def backbone_rows(model: Any) -> int:
    """How many rows of a model, from the first on, are its backbone."""
    return len(model.yaml["backbone"])


def image_channels(model: Any) -> int:
    """How many channels the images of a model have: three, one where they are grey."""
    return int(model.yaml.get("channels", 3))
