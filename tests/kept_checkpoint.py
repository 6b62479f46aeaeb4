"""Checkpoints that this and earlier versions wrote, and the numbers that they must go on giving.

    python -m tests.kept_checkpoint

writes `kept/VERSION.pt` and `kept/VERSION.npz` for the version at hand. Once released, a pair stays
as it is for good.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import afpn_yolo
from tests.neck import randomise

KEPT = Path(__file__).parent / "kept"
NAMES = {0: "left", 1: "right"}
FUSION = 6
"""The row whose weight maps are kept."""


def picture() -> Tensor:
    """Some input (1, 3, 64, 96), computed: no generator's numbers are promised for ever."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    return torch.stack([(x * y) % 37 / 37, (x + 2 * y) % 51 / 51, (3 * x + y) % 29 / 29])[None]


def answers(model: Any) -> dict[str, np.ndarray]:
    """What a model makes of it: boxes and scores (1, 4 + classes, N), and the maps of a fusion."""
    maps: list[Tensor] = []

    def keep(_: object, __: object, output: Tensor) -> None:
        # Fused, a fusion of two levels predicts the second's weights only.
        maps.append(output if output.shape[1] > 1 else torch.cat([1 - output, output], 1))

    handle = model.model[FUSION].weights.register_forward_hook(keep)
    with torch.no_grad():
        output = model.eval()(picture())[0]
    handle.remove()
    return {"output": output.numpy(), "maps": maps[0].numpy()}


def write() -> None:
    """Write the pair of this version, with Ultralytics' own writer."""
    from ultralytics import YOLO

    os.chdir(KEPT)  # the file's name goes into the checkpoint: no folder of this machine
    torch.manual_seed(0)
    yolo = YOLO("tiny-afpn.yaml")
    model: Any = yolo.model
    randomise(model.model[:-1])
    for scores in model.model[-1].cv3:
        torch.nn.init.normal_(scores[-1].weight, 0, 0.3)
    model.names, model.args = dict(NAMES), {"task": "detect", "imgsz": 64}
    name = afpn_yolo.__version__
    yolo.save(f"{name}.pt")
    found: dict[str, Any] = answers(YOLO(f"{name}.pt").model)
    np.savez_compressed(f"{name}.npz", **found)


if __name__ == "__main__":
    write()
