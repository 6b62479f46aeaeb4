"""COCO's metrics of a model on a data set."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from afpn_yolo import __version__
from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.base.versions import installed
from afpn_yolo.evaluation.coco import Floats, Scores, evaluate
from afpn_yolo.evaluation.datasets import DataSet, read_data
from afpn_yolo.upstream.loading import AnyModel, OpenModel, open_model
from afpn_yolo.upstream.log import warn
from afpn_yolo.upstream.validator import MAX_DETECTIONS, Found, find

TOLD = 10  # damaged images that are named on the screen; the report has them all


@dataclass(frozen=True)
class ClassScores(Scores):
    """The figures of one class, and how many objects of it there are, crowds aside."""

    instances: int


@dataclass(frozen=True)
class Report(Scores):
    """The figures over all classes, those of each, and what they were measured with.

    Attributes:
        per_class: By the class's name.
        images: That were evaluated; `damaged` ones are not among them.
        instances: Objects to find, crowds aside.
        model, data: As the user named them.
        imgsz: Height and width that images were resized into.
        split: Of the data YAML; None for COCO's JSON.
        square: Whether all were padded to a square, or to what their batch needed.
        clip: Whether boxes were cut off at the image's edge.
        damaged: Images that can't be read; they and their objects are left out.
        versions: Of what the figures depend on.
        area: What an object's area is, by which it is small, medium or large: that of COCO's
            annotations, or that of the boxes of the YOLO labels.
    """

    per_class: dict[str, ClassScores]
    images: int
    instances: int
    model: str
    data: str
    imgsz: tuple[int, int]
    split: str | None
    square: bool
    clip: bool
    damaged: list[str]
    versions: dict[str, str]
    area: str

    def as_dict(self) -> dict[str, object]:
        """For JSON: plain dictionaries, and `imgsz` one number where both are the same."""
        height, width = self.imgsz
        return {**asdict(self), "imgsz": height if height == width else [height, width]}


def detect(
    model: OpenModel,
    data_set: DataSet,
    imgsz: int = 640,
    batch: int = 16,
    square: bool = False,
    clip: bool = False,
) -> tuple[DataSet, Found]:
    """Find the objects of a data set; see `find`.

    Returns:
        The set, without the objects of images that could not be decoded, and what was found; an
        image's number is its place in the set's `images`.

    Raises:
        EvaluationError: When not one image can be decoded.
    """
    per_image = np.bincount(data_set.truth[:, 0].astype(int), minlength=1)
    # The validator, too, looks for as many as there are.
    most = max(MAX_DETECTIONS, int(per_image.max()))
    found = find(model, data_set.images, data_set.sizes, imgsz, batch, square, clip, most)
    data_set = data_set.without(found.failed)
    if len(found.failed) == len(data_set.images):
        raise EvaluationError(f"{data_set.source}: none of its images can be decoded")
    return data_set, found


def evaluate_model(
    model: AnyModel,
    data: str | Path,
    imgsz: int = 640,
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
        imgsz: What an image's longer side is resized to.
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
    data_set, found = detect(opened, data_set, imgsz, batch, square, clip)
    return report_of(
        data_set,
        found.rows,
        model=opened.source,
        data=str(data),
        imgsz=found.imgsz,
        split=None if str(data).endswith(".json") else split,
        square=found.square,
        clip=clip,
    )


def report_of(data_set: DataSet, detections: Floats, **measured: Any) -> Report:
    """The report of what any model has found.

    Args:
        data_set: The images that it was found on.
        detections: (M, 7), columns as in `coco.DETECTION`.
        measured: The report's `model`, `data`, `imgsz`, `split`, `square` and `clip`.
    """
    _tell(data_set)
    metrics = evaluate(data_set.truth, detections, data_set.names)
    count = {k: _instances(data_set, k) for k in data_set.names}
    per_class = {
        name: ClassScores(**asdict(metrics.per_class[name]), instances=count[number])
        for number, name in data_set.names.items()
    }
    return Report(
        **{**asdict(metrics), "per_class": per_class},
        images=len(data_set.images) - data_set.undecoded,
        instances=sum(count.values()),
        **measured,
        damaged=[str(path) for path in data_set.damaged],
        versions=_versions(),
        area=data_set.area,
    )


def _instances(data_set: DataSet, number: int) -> int:
    of_class = data_set.truth[data_set.truth[:, 1] == number]
    return int((of_class[:, 7] == 0).sum())


def _tell(data_set: DataSet) -> None:
    damaged = [*data_set.damaged.items()]
    for path, reason in damaged[:TOLD]:
        warn(f"{path} is left out with its objects: {reason}")
    if len(damaged) > TOLD:
        warn(f"{len(damaged) - TOLD} more images are left out with their objects")
    if not len(data_set.truth):
        warn(f"{data_set.source}: no image has an object, so there is nothing to measure")


def _versions() -> dict[str, str]:
    return {
        "afpn_yolo": __version__,
        "python": platform.python_version(),
        **installed(("ultralytics", "torch", "faster-coco-eval", "numpy")),
        "opencv": cv2.__version__,  # its distribution has several names
    }
