"""Necks that come with the package, each taught behind the backbone of one COCO checkpoint.

A file `afpn_yolo/weights/NAME.npz` holds in half precision the tensors of the neck's rows, and a
print of the backbone: of each convolution, BatchNorm folded in, the first filter. A checkpoint is
recognised by these and never by its name, which its owner may have changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv

from afpn_yolo.base.files import written_whole
from afpn_yolo.base.yaml_rows import backbone_rows

FOLDER = Path(__file__).resolve().parents[1] / "weights"
ALIKE = 0.95
"""Least mean cosine between filters. Rounding to INT8 leaves 0.99; other training, about zero."""

Tensors = dict[str, Tensor]


def load_taught(model: Any, source: Any) -> str:
    """Load the neck that belongs behind a checkpoint's backbone into a model, if there is one.

    Args:
        model: A model with an AFPN neck.
        source: The model that its backbone was taken from.

    Returns:
        The name of the neck's file without its suffix; "" when none fits.
    """
    neck = neck_tensors(model)
    printed = None
    for path in sorted(FOLDER.glob("*.npz")):
        with np.load(path) as file:
            tensors = {name: torch.from_numpy(file[name]).float() for name in file.files}
        known = {k: tensors.pop(k) for k in [*tensors] if k.startswith("print.")}
        if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in neck.items()}:
            continue
        printed = printed or backbone_print(source)
        if similarity(printed, known) > ALIKE:
            with torch.no_grad():
                for name, tensor in tensors.items():
                    neck[name].copy_(tensor)
            return path.stem
    return ""


def save_taught(model: Any, path: Path) -> None:
    """Write the neck of a model and the print of its backbone, a COCO checkpoint's."""
    tensors = {**neck_tensors(model), **backbone_print(model)}
    arrays: dict[str, Any] = {k: v.detach().half().numpy() for k, v in tensors.items()}
    with written_whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def neck_tensors(model: Any) -> Tensors:
    """The tensors of the rows between backbone and head, by row counted from the neck's first."""
    rows = nn.Sequential(*model.model[backbone_rows(model) : -1])
    # Without BatchNorm's counters of batches.
    return {name: tensor for name, tensor in rows.state_dict().items() if tensor.ndim}


def backbone_print(model: Any) -> Tensors:
    """The first filter (C, H, W) of each convolution of a backbone, BatchNorm folded in."""
    rows = nn.Sequential(*model.model[: backbone_rows(model)])
    filters: Tensors = {}
    for name, module in rows.named_modules():
        if isinstance(module, Conv):
            weight = module.conv.weight[0].detach().float()
            if isinstance(bn := getattr(module, "bn", None), nn.BatchNorm2d):  # not fused yet
                variance: Any = bn.running_var
                weight = weight * bn.weight[0].detach() / (variance[0] + bn.eps).sqrt()
            filters[f"print.{name}"] = weight
    return filters


def similarity(one: Tensors, other: Tensors) -> float:
    """Mean cosine between the filters of two backbones; 0 when these are not of one family."""
    if {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in other.items()}:
        return 0.0
    pairs = ((one[name].flatten(), other[name].flatten()) for name in one)
    return float(torch.stack([nn.functional.cosine_similarity(*p, dim=0) for p in pairs]).mean())
