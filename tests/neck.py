"""Remake the tensors that the golden numbers were made from."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from afpn_yolo.convert import NECK_ROW, load_authors, neck_names

GOLDEN = Path(__file__).parent / "golden"
Arrays = dict[str, Any]
Module = TypeVar("Module", bound=nn.Module)


def golden(name: str) -> Arrays:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def _draw(name: str, shape: tuple[int, ...], salt: str) -> Tensor:
    g = np.random.Generator(np.random.PCG64(zlib.crc32((salt + name).encode())))
    if name.endswith("running_var"):
        values = g.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        values = 0.1 * g.standard_normal(shape)
    elif len(shape) == 4:
        values = g.standard_normal(shape) * np.sqrt(2 / (shape[1] * shape[2] * shape[3]))
    elif name.endswith("weight") and ".bn" in name:
        values = g.uniform(0.5, 1.5, shape)
    else:
        values = 0.1 * g.standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))


def authors_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """The state dict of the authors' neck, by their names."""
    tensors = {}
    for line in arrays["keys"]:
        name, _, shape = str(line).partition(" ")
        size = tuple(int(n) for n in shape.strip("(),").replace(",", " ").split())
        tensors[name] = _draw(name, size, str(arrays["salt"]))
    return tensors


def inputs(arrays: Arrays) -> list[Tensor]:
    """The backbone's features, finest first."""
    result = []
    for i, channels in enumerate(arrays["channels"]):
        h, w = (int(side) >> i for side in arrays["hw"])
        seed = zlib.crc32(f"{arrays['salt']}input{i}".encode())
        g = np.random.Generator(np.random.PCG64(seed))
        shape = (int(arrays["batch"]), int(channels), h, w)
        result.append(torch.from_numpy(g.standard_normal(shape).astype(np.float32)))
    return result


def randomise(module: Module) -> Module:
    """Weights and statistics as after some training: a wrong sum can't hide behind zeros."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, 0, 0.3)
            nn.init.normal_(m.running_mean, 0, 0.3)  # type: ignore[arg-type]
            nn.init.uniform_(m.running_var, 0.5, 1.5)  # type: ignore[arg-type]
        elif isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight)
    return module


def load(
    rows: Any, tensors: dict[str, Tensor], eps: float, row: int = NECK_ROW, **layout: Any
) -> None:
    """Load the authors' tensors into the neck of a model; every one of them must be used."""
    n = len(layout.get("levels", "123"))
    neck = rows[row : row + n * (n + 4) - 2]
    assert set(load_authors(neck, tensors, neck_names(row=row, **layout), eps)) == set(tensors)


def difference(got: Tensor, expected: np.ndarray) -> float:
    """Largest difference relative to the largest expected value."""
    assert tuple(got.shape) == expected.shape
    return float(np.abs(got.detach().numpy() - expected).max() / np.abs(expected).max())
