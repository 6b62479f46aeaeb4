"""Data sets in YOLO format: a data YAML, images, and a text file of labels beside each.

Read as Ultralytics reads them, except that nothing is written: its own reader leaves a cache beside
the labels and rewrites images.
"""

from __future__ import annotations

import glob
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from afpn_yolo.base.values import EvaluationError, shown
from afpn_yolo.evaluation.coco import Floats
from afpn_yolo.evaluation.datasets import DataSet, as_table, check_any, read_sizes
from afpn_yolo.evaluation.letterbox import Size
from afpn_yolo.upstream.data import label_path, open_data
from afpn_yolo.upstream.images import IMAGE_SUFFIXES
from afpn_yolo.upstream.tell import warn

LOWEST, HIGHEST = -0.01, 1.01  # what Ultralytics lets pass as a coordinate


def read_yolo(data: str, split: str, model_names: dict[int, str], model: str) -> DataSet:
    """Read one split of a data set.

    Args:
        data: A data YAML, by path or by a name that `yolo` finds.
        split: `train`, `val` or `test`.
        model_names: The model's classes, to check against.
        model: What messages call it.

    Raises:
        EvaluationError: When the data are not as they must be, or not those of the model.
    """
    content = open_data(data)
    _check_names(data, content["names"], model, model_names)
    images = _listed(data, split, content)
    labelled = [image for image in images if label_path(image).is_file()]
    if not labelled:
        raise EvaluationError(
            f"{data}: none of the {len(images)} images of split {split!r} has a label file; "
            f"expected e.g. {label_path(images[0])}"
        )
    if len(labelled) < len(images):
        warn(f"{data}: {len(images) - len(labelled)} images without a label file are backgrounds")
    sizes, damaged = read_sizes(images)
    check_any(data, sizes, damaged)
    has_label = set(labelled)
    pose = math.prod(content.get("kpt_shape", [0]))
    tables = [
        _to_pixels(place, size, read_labels(label_path(image), content["names"], pose))
        for place, (image, size) in enumerate(sizes.items())
        if image in has_label
    ]
    return DataSet(
        source=data,
        images=[*sizes],
        sizes=[*sizes.values()],
        truth=as_table(tables),
        names=content["names"],
        ids=[*range(len(sizes))],
        categories=[*content["names"]],
        damaged=damaged,
    )


def _check_names(data: str, names: dict[int, str], model: str, model_names: dict[int, str]) -> None:
    if len(names) != len(model_names):
        raise EvaluationError(
            f"{data} has {len(names)} classes, {model} has {len(model_names)}; "
            "evaluate a model on the classes it was trained for"
        )
    twice = sorted({name for name in names.values() if [*names.values()].count(name) > 1})
    if twice:
        raise EvaluationError(f"{data}: several classes have the name {twice[0]!r}")
    other = [(names[k], model_names.get(k)) for k in names if names[k] != model_names.get(k)]
    if other:
        warn(f"{data} calls a class {other[0][0]!r} that {model} calls {other[0][1]!r}")


def images_of(data: str, split: str) -> list[Path]:
    """The images of one split of a data YAML, sorted; none of them has been opened.

    Raises:
        EvaluationError: When there are none.
    """
    return _listed(data, split, open_data(data))


def _listed(data: str, split: str, content: dict[str, Any]) -> list[Path]:
    sources = content.get(split)
    if not sources:
        raise EvaluationError(f"{data} has no split {split!r}; add `{split}:` or choose another")
    sources = sources if isinstance(sources, list) else [sources]
    found = [name for source in sources for name in _names_in(data, Path(source))]
    images = sorted({name for name in found if name.rpartition(".")[2].lower() in IMAGE_SUFFIXES})
    if not images:
        raise EvaluationError(f"{data}: split {split!r} is empty, no images in {sources[0]}")
    return [Path(image) for image in images]


def _names_in(data: str, source: Path) -> list[str]:
    """The files of a folder and those below it, or the lines of a list."""
    if source.is_dir():
        return glob.glob(str(Path(glob.escape(str(source))) / "**" / "*.*"), recursive=True)
    if not source.is_file():
        raise EvaluationError(f"{data}: {source} does not exist")
    try:
        lines = source.read_text(encoding="utf-8-sig").splitlines()
    except ValueError:
        raise EvaluationError(f"{data}: {source} is no folder and no list of images") from None
    parent = f"{source.parent}{os.sep}"
    return [x.replace("./", parent, 1) if x.startswith("./") else x for x in lines]


def read_labels(path: Path, names: dict[int, str], pose: int = 0) -> Floats:
    """Read one label file.

    Args:
        path: One object a line: class, then centre, width and height, or the points of a polygon.
        names: The classes; a line with another is an error.
        pose: How many numbers of a pose follow a box; they are skipped.

    Returns:
        (N, 5): class; x and y of the centre, width, height as fractions of the image. A line that
        stands there twice counts once.

    Raises:
        EvaluationError: On a line that is no label; it names the file and the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except ValueError:
        raise EvaluationError(f"{path} is no text: labels are lines of numbers") from None
    rows: dict[tuple[float, ...], Floats] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = tuple(_number(word) for word in line.split())
            rows[values] = _box_of(values[:5] if pose and len(values) == 5 + pose else values)
            if values[0] not in names:
                raise ValueError(f"class {values[0]:g} is not among 0 to {len(names) - 1}")
        except ValueError as error:
            raise EvaluationError(f"{path}, line {number}: {error}") from None
    return np.array([*rows.values()]).reshape(-1, 5)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"numbers expected, got {shown(word)}") from None


def _box_of(values: tuple[float, ...]) -> Floats:
    number, *rest = values
    if len(rest) >= 6 and len(rest) % 2 == 0:
        points = np.array(rest).reshape(-1, 2)
        low, high = points.min(0), points.max(0)
        box = np.array([number, *(low + high) / 2, *high - low])
    elif len(rest) == 4:
        box = np.array(values)
    else:
        raise ValueError(f"class and 4 numbers, or a polygon, expected; got {len(values)} numbers")
    if not all(math.isfinite(x) and LOWEST <= x <= HIGHEST for x in rest) or min(box[3:]) < 0:
        raise ValueError(f"coordinates are fractions of the image, 0 to 1, got {rest}")
    return box


def _to_pixels(place: int, size: Size, labels: Floats) -> Floats:
    """Rows of the ground truth from the labels of one image."""
    height, width = size
    number, x, y, w, h = labels.T * np.array([[1], [width], [height], [width], [height]])
    zeros = np.zeros(len(labels))
    return np.stack([zeros + place, number, x - w / 2, y - h / 2, w, h, w * h, zeros], 1)
