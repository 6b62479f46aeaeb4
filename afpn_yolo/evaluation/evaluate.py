"""COCO's metrics of a model on a data set."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from afpn_yolo import __version__
from afpn_yolo.base import installed
from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.base.files import is_json
from afpn_yolo.evaluation.coco import Floats, Scores, evaluate
from afpn_yolo.evaluation.coco_dataset import read_coco
from afpn_yolo.evaluation.datasets import DataSet, read_yolo
from afpn_yolo.upstream.data import Size, images_of, open_data
from afpn_yolo.upstream.loading import AnyModel, open_model
from afpn_yolo.upstream.log import warn
from afpn_yolo.upstream.validator import MAX_DETECTIONS, predict

COCO_SPLIT = "val2017"
NAMED = 10  # damaged images that are named on the screen; the report has them all


class Report(Scores):
    """The figures over all classes, those of each, and what they were measured with; plain JSON.

    `per_class` has the figures of each class by its name. `images` counts those that were
    evaluated; `damaged` ones are left out with their objects. `model`, `data`: as the user named
    them. `imgsz`: what images were resized to, [height, width] where the two differ. `split`: of
    the data YAML, None for COCO's JSON. `square`: whether all images were padded to a square, or
    each to what its batch needed. `clip`: whether boxes were cut off at the image's edge. `area`:
    which area makes an object small, medium or large, that of COCO's annotations or that of the
    boxes of the YOLO labels. `versions`: of what the figures depend on.
    """

    per_class: dict[str, Scores]
    images: int
    model: str
    data: str
    imgsz: int | list[int]
    split: str | None
    square: bool
    clip: bool
    damaged: list[str]
    versions: dict[str, str]
    area: str


def read_data(
    data: str | Path,
    names: Mapping[int, str],
    split: str = "val",
    images: str | Path | None = None,
    model: str = "the model",
) -> DataSet:
    """Read a data YAML or, where the name ends in `.json`, COCO's format.

    Args:
        data: The file, or a name that `yolo data=` finds.
        names: Class number and name of the model that will be evaluated.
        split: Of a data YAML: `train`, `val` or `test`.
        images: The folder of the images of a JSON; None finds COCO's own layout.
        model: What messages call the model.

    Raises:
        EvaluationError: When it can't be read, or isn't of these classes.
    """
    if is_json(str(data)):
        return read_coco(Path(data), Path(images) if images else None, names, model)
    if images:
        raise EvaluationError(f"{data} says itself where its images are; --images is for a .json")
    content = open_data(str(data))
    classes: dict[int, str] = content["names"]
    if len(classes) != len(names):
        raise EvaluationError(
            f"{data} has {len(classes)} classes, {model} has {len(names)}; "
            "evaluate a model on the classes it was trained for"
        )
    name, count = Counter(classes.values()).most_common(1)[0]
    if count > 1:
        raise EvaluationError(f"{data}: several classes have the name {name!r}")
    if other := [number for number in classes if classes[number] != names.get(number)]:
        name, model_name = classes[other[0]], names.get(other[0])
        warn(f"{data} calls a class {name!r} that {model} calls {model_name!r}")
    paths = images_of(str(data), split, content)
    if annotations := _cocos_own(content, split, paths):
        try:
            return read_coco(annotations, paths[0].parent, names, model, {*paths})
        except EvaluationError as error:
            warn(f"{data} is judged by its labels, not by COCO's annotations: {error}")
    return read_yolo(str(data), split, content, paths)


def _cocos_own(content: dict[str, Any], split: str, images: list[Path]) -> Path | None:
    """COCO's annotations of its val2017, where a split is that, or a part of it."""
    sources = content[split] if isinstance(content[split], list) else [content[split]]
    if {Path(source).stem for source in sources} != {COCO_SPLIT}:
        return None
    path = Path(content["path"], "annotations", f"instances_{COCO_SPLIT}.json")
    one_folder = len({image.parent for image in images}) == 1
    return path if one_folder and path.is_file() else None


def evaluate_model(
    model: AnyModel,
    data: str | Path,
    imgsz: int | None = None,
    split: str = "val",
    device: str | None = None,
    batch: int = 16,
    images: str | Path | None = None,
    square: bool = False,
    clip: bool = False,
) -> Report:
    """Measure a model on a data set. Nothing is written.

    Args:
        model: Anything that `YOLO()` opens, or an open `YOLO`.
        data: A data YAML or COCO's `instances_*.json`; see `read_data`.
        imgsz: What an image's longer side is resized to; None takes the size that the model
            was trained or exported at (640 if unknown).
        split: Of a data YAML.
        device: As in `yolo device=`.
        batch: Images at a time; it decides which images share a padding.
        images: The folder of the images of a JSON.
        square: Pad to squares, as models of a fixed size need it, so that such a model and the one
            it was exported from see the same.
        clip: Cut boxes off at the image's edge first, as Ultralytics does before it saves them for
            pycocotools; otherwise they are judged as predicted, as in `yolo val`.

    Raises:
        EvaluationError: On a user's mistake; it names the file and what to do.
    """
    opened = open_model(model, device)
    data_set = read_data(data, opened.names, split, images, opened.source)
    per_image = np.bincount(data_set.truth[:, 0].astype(int), minlength=1)
    # The validator, too, raises its limit to the most objects on an image.
    max_det = max(MAX_DETECTIONS, int(per_image.max()))
    predictions = predict(
        opened, data_set.images, data_set.sizes, imgsz, batch, square, clip, max_det
    )
    if len(predictions.failed) == len(data_set.images):
        raise EvaluationError(f"{data}: none of its images can be decoded")
    return report_of(
        data_set.without(predictions.failed),
        predictions.rows,
        model=opened.source,
        data=str(data),
        imgsz=predictions.imgsz,
        split=split,
        square=predictions.square,
        clip=clip,
    )


def report_of(
    data_set: DataSet,
    detections: Floats,
    *,
    model: str,
    data: str,
    imgsz: Size,
    split: str,
    square: bool,
    clip: bool,
) -> Report:
    """The report on detections (M, 7), columns as in `coco.DETECTION`, on a data set.

    Images were resized to height and width `imgsz`; for the others see `Report`.
    """
    damaged = data_set.damaged
    for path, reason in [*damaged.items()][:NAMED]:
        warn(f"{path} is left out with its objects: {reason}")
    if len(damaged) > NAMED:
        warn(f"{len(damaged) - NAMED} more images are left out with their objects")
    if not len(data_set.truth):
        warn(f"{data}: no image has an object, so there is nothing to measure")
    scores, per_class = evaluate(data_set.truth, detections, data_set.names)
    height, width = imgsz
    return {
        **scores,
        "per_class": per_class,
        "images": sum(image not in damaged for image in data_set.images),
        "model": model,
        "data": data,
        "imgsz": height if height == width else [height, width],
        "split": None if is_json(data) else split,
        "square": square,
        "clip": clip,
        "damaged": [str(path) for path in damaged],
        "versions": {
            "afpn_yolo": __version__,
            "python": platform.python_version(),
            **installed(("ultralytics", "torch", "faster-coco-eval", "numpy")),
            "opencv": cv2.__version__,  # its distribution has several names
        },
        "area": data_set.area,
    }
