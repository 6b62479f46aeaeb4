"""Necks that come with the package, each taught behind the backbone of one COCO checkpoint.

A file `afpn_yolo/weights/NAME.npz` holds in half precision the tensors of the neck's rows; of
parameters that the checkpoint has itself only how far teaching changed them (`change.`); and a
print of the backbone: the first filter of each convolution. A checkpoint is recognised by these and
never by its name, which its owner may have changed.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def load_taught(model: Any, source: Any, blocks: Mapping[int, nn.Module]) -> str:
    """Load the neck that belongs behind a checkpoint's backbone into a model, if there is one.

    Args:
        model: A model with an AFPN neck.
        source: The model that its backbone was taken from.
        blocks: Rows of the source's neck, by the row of the model that is alike.

    Returns:
        The name of the neck's file without its suffix; "" when none fits.
    """
    neck, known = neck_tensors(model), block_tensors(model, blocks)
    printed = None
    for path in sorted(FOLDER.glob("*.npz")):
        with np.load(path) as file:
            names = {k.removeprefix("change.") for k in file.files if not k.startswith("print.")}
            if names != neck.keys():  # of another family: its arrays needn't be read
                continue
            tensors = {name: torch.from_numpy(file[name]).float() for name in file.files}
        wanted = {k: tensors.pop(k) for k in [*tensors] if k.startswith("print.")}
        for name in [k for k in tensors if k.startswith("change.")]:
            own = known.get(name.removeprefix("change."))
            if own is not None and own.shape == tensors[name].shape:
                tensors[name.removeprefix("change.")] = own + tensors.pop(name)
        if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in neck.items()}:
            continue
        printed = printed or backbone_print(source)
        if similarity(printed, wanted) > ALIKE:
            with torch.no_grad():
                for name, tensor in tensors.items():
                    neck[name].copy_(tensor)
            return path.stem
    return ""


def save_taught(model: Any, blocks: Mapping[int, nn.Module], path: Path) -> None:
    """Write the neck of a model and the print of its backbone, a COCO checkpoint's.

    `blocks` are rows of the checkpoint's neck, as for `load_taught`.
    """
    tensors = neck_tensors(model)
    for name, value in block_tensors(model, blocks).items():
        tensors[f"change.{name}"] = tensors.pop(name) - value
    arrays: dict[str, Any] = {
        name: tensor.detach().half().numpy()
        for name, tensor in {**tensors, **backbone_print(model)}.items()
    }
    with written_whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def block_tensors(model: Any, blocks: Mapping[int, nn.Module]) -> Tensors:
    """The parameters of blocks that have the shape of those of the model's neck, by name there.

    Without BatchNorm's statistics: those of a block in another place have little in common, and in
    half precision a large difference would be too coarse for a small value.
    """
    neck, first = neck_tensors(model), backbone_rows(model)
    named = {
        f"{row - first}.{name}": tensor.detach().float().cpu()
        for row, block in blocks.items()
        for name, tensor in block.named_parameters()
    }
    return {k: v for k, v in named.items() if k in neck and neck[k].shape == v.shape}


def neck_tensors(model: Any) -> Tensors:
    """The tensors of the rows between backbone and head, by row counted from the neck's first."""
    rows = nn.Sequential(*model.model[backbone_rows(model) : -1])
    # Without BatchNorm's counters of batches.
    return {name: tensor for name, tensor in rows.state_dict().items() if tensor.ndim}


def backbone_print(model: Any) -> Tensors:
    """The first filter (C, H, W) of each convolution of a backbone, at any scale.

    Of BatchNorm only the sign is folded in: the scale doesn't change a cosine.
    """
    rows = nn.Sequential(*model.model[: backbone_rows(model)])
    filters: Tensors = {}
    for name, module in rows.named_modules():
        if isinstance(module, Conv):
            bn = getattr(module, "bn", None)
            sign = bn.weight[0].sign() if isinstance(bn, nn.BatchNorm2d) else 1  # or fused already
            filters[f"print.{name}"] = (module.conv.weight[0] * sign).detach().float().cpu()
    return filters


def similarity(one: Tensors, other: Tensors) -> float:
    """Mean cosine between the filters of two backbones; 0 when these are not of one family."""
    if {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in other.items()}:
        return 0.0
    pairs = ((one[name].flatten(), other[name].flatten()) for name in one)
    return float(torch.stack([nn.functional.cosine_similarity(*p, dim=0) for p in pairs]).mean())
