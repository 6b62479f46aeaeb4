"""Read the tensors of a foreign checkpoint without running anything that it brings along.

MMEngine saves log buffers of its own classes, and numpy arrays, beside the weights. torch's
`weights_only` refuses such a file whole. Here every class of MMEngine's and its relatives' is
replaced by an empty one, so that the tensors can be read; all else stays refused.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

FAMILY = ("mmengine.", "mmcv.", "mmdet.", "mmyolo.")


class Inert:
    """Stands for an object that we don't need: takes anything, does nothing."""

    def __new__(cls, *_: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def load_tensors(path: Path) -> object:
    """Load a file under `weights_only`.

    Raises:
        ValueError: When it is no file of torch's, is damaged, or holds objects that are refused.
        OSError: When it can't be read.
    """
    with open(path, "rb") as file:  # torch reports a folder or a missing file less clearly
        file.read(1)
    try:
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, pickle.UnpicklingError, EOFError):
        unsafe = []  # not torch's zip format: the load below says what it is
    stand_ins: list[Any] = [(Inert, name) for name in unsafe if name.startswith(FAMILY)]
    try:
        with torch.serialization.safe_globals([*stand_ins, *_numpy(unsafe)]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        # What unpickling stumbles over may be a bare number.
        said = str(error).split(". ")[0].splitlines()[0] if " " in str(error) else ""
        reason = said or type(error).__name__
        reason = f"torch can't read it as a checkpoint ({reason})"
        refused = [name for name in unsafe if not name.startswith((*FAMILY, "numpy."))]
        if refused:
            more = f" and {len(refused) - 3} more kinds" * (len(refused) > 3)
            names = f"{', '.join(refused[:3])}{more}"
            reason = f"it holds objects that are not loaded for safety's sake: {names}"
        if any(name.startswith("ultralytics.nn.") for name in refused):
            reason = (
                "it is a checkpoint of Ultralytics' already, which yolo and the other commands "
                "open as it is; this one takes those of the AFPN authors' code"
            )
        raise ValueError(reason) from error


def _numpy(names: list[str]) -> list[Any]:
    """Allow numpy's plain arrays and numbers, under the path of either numpy 1 or 2."""
    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    by_end = {"._reconstruct": reconstruct, ".scalar": scalar, ".ndarray": np.ndarray}
    allowed: list[Any] = [np.dtype, *(type(np.dtype(t)) for t in ("f4", "f8", "i4", "i8", "?"))]
    for name in names:
        for end, value in by_end.items():
            if name.startswith("numpy.") and name.endswith(end):
                allowed.append((value, name))
    return allowed
