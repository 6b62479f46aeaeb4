"""COCO's detection metrics by faster-coco-eval, for boxes held in arrays.

That is pycocotools' evaluation with its inner loops in C++. It keeps a Python dictionary per
detection, which is a gigabyte at 5,000 images x 300 detections. A class never meets another in
COCO's metrics, so this goes class by class: the same numbers, in the memory of the largest class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, get_args

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Columns of a table of boxes; pixels of the original image. Ground truth has area and crowd, a
# detection has a score.
GROUND_TRUTH = ("image", "class", "left", "top", "width", "height", "area", "crowd")
DETECTION = ("image", "class", "left", "top", "width", "height", "score")

Column = Literal["AP", "AP50", "AP75", "APS", "APM", "APL", "AR100"]
COLUMNS: tuple[Column, ...] = get_args(Column)
"""COCO's figures in the order of all tables; keys of `Scores`."""


class Scores(TypedDict):
    """COCO's figures, each from 0 to 1, or None where there is no object to find.

    `AP` is the mean over IoU 0.50 to 0.95; `AP50` and `AP75` are at one IoU. `APS` counts objects
    below 32 x 32 pixels, `APM` up to 96 x 96, `APL` above. `AR100` is the recall with up to 100
    detections per image and class, mean over IoU. `instances` is the number of objects, without
    crowds.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    APS: float | None
    APM: float | None
    APL: float | None
    AR100: float | None
    instances: int


def evaluate(
    ground_truth: Floats, detections: Floats, names: Mapping[int, str]
) -> tuple[Scores, dict[str, Scores]]:
    """Compare detections with ground truth.

    Args:
        ground_truth: (N, 8), columns as in `GROUND_TRUTH`.
        detections: (M, 7), columns as in `DETECTION`.
        names: Every class's number and name.

    Returns:
        The figures over all classes, and those of each class by its name. A class without ground
        truth has None throughout and counts nowhere.

    Raises:
        ValueError: When a table has a class that `names` lacks.
    """
    unknown = np.setdiff1d(np.union1d(ground_truth[:, 1], detections[:, 1]), [*names])
    if unknown.size:
        raise ValueError(f"the classes {unknown.tolist()} are not among {[*names]}")
    per_class, precisions, recalls = {}, [], []
    for number, name in names.items():
        truth = ground_truth[ground_truth[:, 1] == number]
        precision, recall = _evaluate_class(truth, detections[detections[:, 1] == number])
        per_class[name] = _scores(precision, recall, truth)
        precisions.append(precision)
        recalls.append(recall)
    return _scores(np.stack(precisions, 2), np.stack(recalls, 1), ground_truth), per_class


MOST = 100  # detections per image and class that count
# Places in the library's tables: IoU thresholds 0.50, 0.55, ...; areas all, small, medium, large.
IOU50, IOU75 = 0, 5
ALL, SMALL, MEDIUM, LARGE = range(4)


def _scores(precision: Floats, recall: Floats, ground_truth: Floats) -> Scores:
    """From precision (T, R, K, A) and recall (T, K, A), without K for one class."""
    return {
        "AP": _mean(precision[..., ALL]),
        "AP50": _mean(precision[IOU50, ..., ALL]),
        "AP75": _mean(precision[IOU75, ..., ALL]),
        "APS": _mean(precision[..., SMALL]),
        "APM": _mean(precision[..., MEDIUM]),
        "APL": _mean(precision[..., LARGE]),
        "AR100": _mean(recall[..., ALL]),
        "instances": int((ground_truth[:, 7] == 0).sum()),
    }


def _mean(values: Floats) -> float | None:
    """The mean of what is there: COCO's evaluation writes -1 where there is no ground truth."""
    present = values[values > -1]
    return float(present.mean()) if present.size else None


def _evaluate_class(ground_truth: Floats, detections: Floats) -> tuple[Floats, Floats]:
    """Precision (T, R, A) and recall (T, A) of one class, at most 100 detections per image."""
    # Images with neither change nothing.
    images = np.union1d(ground_truth[:, 0], detections[:, 0]).astype(int).tolist()
    detections = _best(detections)
    crowd = ground_truth[:, 7].astype(int)
    truth = _coco(images, ground_truth, area=ground_truth[:, 6], iscrowd=crowd)
    area, score = detections[:, 4] * detections[:, 5], detections[:, 6]
    results = _coco(images, detections, area=area, score=score, iscrowd=np.zeros(len(area), int))
    run = COCOeval_faster(truth, results, "bbox")
    run.params.catIds = [0]
    run.params.imgIds = images
    run.params.maxDets = [MOST]
    run.evaluate()
    run.accumulate()
    return run.eval["precision"][:, :, 0, :, -1], run.eval["recall"][:, 0, :, -1]


def _best(detections: Floats) -> Floats:
    """The detections that count for each image; the others would only take memory."""
    order = np.lexsort((-detections[:, 6], detections[:, 0]))  # stable, as COCO's own sorting
    images = detections[order, 0]
    rank = np.arange(len(order)) - np.searchsorted(images, images)
    return detections[order[rank < MOST]]


def _coco(images: list[int], boxes: Floats, **columns: NDArray[Any]) -> COCO:
    """One class as the library takes it; `columns` are fields of the annotations."""
    annotations = [
        {"id": i, "image_id": int(row[0]), "category_id": 0, "bbox": row[2:6].tolist()}
        for i, row in enumerate(boxes, 1)  # from 1: a match with annotation 0 is none
    ]
    for key, values in columns.items():
        for annotation, value in zip(annotations, values.tolist(), strict=True):
            annotation[key] = value
    entries = [{"id": image} for image in images]
    return COCO({"images": entries, "categories": [{"id": 0}], "annotations": annotations})
