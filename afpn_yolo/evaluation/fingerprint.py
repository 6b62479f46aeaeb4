"""Digests by which a changed data set or checkpoint is told from the one before."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from afpn_yolo.evaluation.coco_dataset import read_files
from afpn_yolo.upstream.data import images_of, label_path, open_data
from afpn_yolo.upstream.models import empty_model, read_model_yaml


def data_digest(data: str, splits: Sequence[str]) -> str:
    """SHA-256 over class names, images and labels of a data set, wherever its folder lies.

    Of an image its name and size in bytes count, of a label file all of it: seconds for 100,000
    images. An image that was changed to another of the very same size goes unnoticed.

    Raises:
        EvaluationError: When the data can't be opened, or a split is missing.
    """
    content = open_data(data)
    # Ultralytics resolves links where a split is a folder, not in a list of images.
    folder = Path(content["path"])
    roots = [f"{root}{os.sep}" for root in (folder.resolve(), folder.absolute())]
    digest = hashlib.sha256(repr(sorted(content["names"].items())).encode())
    for split in splits:
        digest.update(f"\n{split}\n".encode())
        for image in images_of(data, split, content):
            name = str(image).removeprefix(roots[0]).removeprefix(roots[1]).replace(os.sep, "/")
            digest.update(f"{name} {_size(image)}\n".encode())
            label = label_path(image)
            digest.update(label.read_bytes() if label.is_file() else b"background")
    return digest.hexdigest()


def coco_digest(data: str, folder: str | None = None) -> str:
    """The same over a JSON in COCO's format: all of it, and names and sizes of its images.

    Images are in `folder`; None looks where COCO keeps them.

    Raises:
        EvaluationError: When the file or its images can't be found.
    """
    path = Path(data)
    files = read_files(path, Path(folder) if folder else None)
    digest = hashlib.sha256(path.read_bytes())
    for image, entry in files.items():
        digest.update(f"{entry['file_name']} {_size(image)}\n".encode())
    return digest.hexdigest()


def _size(path: Path) -> int:
    """In bytes; -1 where a list names what isn't there, as training will say."""
    return path.stat().st_size if path.is_file() else -1


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors, in float32: a checkpoint's file has a date in it, too."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def model_digest(model: str, scale: str | None = None) -> str:
    """SHA-256 of what a model YAML builds at a scale, whatever its name and its classes.

    Its rows and settings count, and the names and shapes of its tensors.

    Raises:
        OSError, ValueError: As `empty_model`.
    """
    content = read_model_yaml(model, scale)
    scales = content.get("scales") or {}
    loose = ("nc", "names", "scale", "scales", "yaml_file")
    settings = {key: value for key, value in content.items() if key not in loose}
    settings["scale"] = scales.get(content.get("scale") or next(iter(scales), ""))
    tensors = empty_model(content | {"nc": 1}).state_dict()
    settings["shapes"] = {name: [*tensor.shape] for name, tensor in tensors.items()}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
