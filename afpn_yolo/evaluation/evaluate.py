"""COCO's metrics of a model on a data set, by pycocotools."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from ultralytics.engine.model import Model

from afpn_yolo import __version__
from afpn_yolo.base.values import EvaluationError
from afpn_yolo.evaluation.coco import Floats, Scores, evaluate
from afpn_yolo.evaluation.cocojson import read_coco
from afpn_yolo.evaluation.datasets import DataSet
from afpn_yolo.evaluation.yolodata import read_yolo
from afpn_yolo.upstream.detect import MAX_DETECTIONS, Detector
from afpn_yolo.upstream.tell import warn

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

    def as_dict(self) -> dict[str, object]:
        """For JSON: plain dictionaries, and `imgsz` one number where both are the same."""
        height, width = self.imgsz
        return {**asdict(self), "imgsz": height if height == width else [height, width]}


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
        split: Of a data YAML.
        images: The folder of the images of a JSON; None finds COCO's own layout.
        model: What messages call the model.

    Raises:
        EvaluationError: When it can't be read, or isn't of these classes.
    """
    if str(data).endswith(".json"):
        return read_coco(Path(data), Path(images) if images else None, dict(names), model)
    if images:
        raise EvaluationError(f"{data} says itself where its images are; --images is for a .json")
    return read_yolo(str(data), split, dict(names), model)


def detect(detector: Detector, data_set: DataSet) -> tuple[DataSet, Floats]:
    """Find the objects of a data set.

    Returns:
        The set, without the objects of images that could not be decoded, and (M, 7), columns as in
        `coco.DETECTION`; an image's number is its place in the set's `images`.

    Raises:
        EvaluationError: When not one image can be decoded.
    """
    per_image = np.bincount(data_set.truth[:, 0].astype(int), minlength=1)
    # The validator, too, looks for as many as there are.
    most = max(MAX_DETECTIONS, int(per_image.max()))
    detections, failed = detector.detect(data_set.images, data_set.sizes, most)
    data_set = data_set.without(failed)
    if len(failed) == len(data_set.images):
        raise EvaluationError(f"{data_set.source}: none of its images can be decoded")
    return data_set, detections


def evaluate_model(
    model: str | Path | Model,
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
    detector = Detector(model, imgsz, device, batch, square, clip)
    data_set = read_data(data, detector.names, split, images, detector.source)
    data_set, detections = detect(detector, data_set)
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
        model=detector.source,
        data=str(data),
        imgsz=detector.imgsz,
        split=None if str(data).endswith(".json") else split,
        square=detector.square,
        clip=clip,
        damaged=[str(path) for path in data_set.damaged],
        versions=_versions(),
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
    versions = {"afpn_yolo": __version__, "python": platform.python_version()}
    versions |= {name: version(name) for name in ("ultralytics", "torch", "pycocotools", "numpy")}
    return {**versions, "opencv": cv2.__version__}  # its distribution has several names
