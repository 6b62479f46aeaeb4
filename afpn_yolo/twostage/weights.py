"""What a ResNet starts from: torchvision's weights by name, or a file of tensors."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor
from torchvision.models import get_model_weights

FILES = (".pth", ".pt", ".npz")


def backbone_weights(name: str | None, backbone: str) -> Mapping[str, Tensor] | None:
    """The tensors that a backbone starts from, by torchvision's names.

    Args:
        name: `IMAGENET1K_V1` or another of torchvision's, which may be downloaded; a file; or None.
        backbone: `resnet50` or another of torchvision's.

    Raises:
        OSError: When a file is missing, or torchvision can't download it.
        ValueError: On an unknown name, or a file of other things.
    """
    if name is None:
        return None
    if Path(name).suffix in FILES:
        return _file(Path(name))
    known = {weights.name: weights for weights in get_model_weights(backbone)}
    if name not in known:
        raise ValueError(
            f"weights {name!r} of {backbone}: choose one of {', '.join(known)}, none, or a file "
            f"({', '.join(FILES)})"
        )
    try:
        tensors: dict[str, Tensor] = known[name].get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError) as error:
        raise OSError(
            f"{known[name].url} can't be downloaded ({error}); fetch it elsewhere and name the "
            "file, or start from none"
        ) from error
    return tensors


def _file(path: Path) -> dict[str, Tensor]:
    with path.open("rb"):
        pass  # an error of the system's names the file
    try:
        if path.suffix == ".npz":
            with np.load(path) as file:
                content: Any = {name: torch.from_numpy(file[name]) for name in file.files}
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: no file of tensors: {str(error).splitlines()[0]}") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or "conv1.weight" not in content:
        raise ValueError(f"{path}: it has no tensors of a ResNet by torchvision's names")
    return {k: v for k, v in content.items() if isinstance(v, Tensor)}
