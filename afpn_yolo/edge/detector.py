"""Images in, detections out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Any, overload

import numpy as np

from afpn_yolo.edge import images
from afpn_yolo.edge.detections import Detections, rotated_corners
from afpn_yolo.edge.images import Image
from afpn_yolo.edge.letterbox import Fit, Size, fill, fit, restore, restore_rotated
from afpn_yolo.edge.model import UNREAD, Model, Provider
from afpn_yolo.edge.postprocess import candidates, have_masks, non_max_suppression

Source = Image | str | os.PathLike[str]
Many = list[Any] | tuple[Any, ...]  # of Source; a str is a Sequence[str], too


class Detector:
    """A model that Ultralytics exported to ONNX.

    It reads the boxes of models for detection, segmentation, pose and OBB, rotated ones with their
    angle, but no masks and keypoints; `unread` names them.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        conf: float = 0.25,
        iou: float = 0.7,
        max_det: int = 300,
        agnostic: bool = False,
        imgsz: int | Sequence[int] | None = None,
        threads: int | None = None,
        classes: int | Sequence[int] | None = None,
        providers: Sequence[Provider] = ("CPUExecutionProvider",),
    ) -> None:
        """Open a model. Defaults are those of Ultralytics' predict.

        Args:
            model: The .onnx file.
            conf: Detections have scores above it.
            iou: Of two boxes of a class that overlap more than this, the lower score goes. Fixed in
                a model with embedded NMS; without meaning for an end-to-end head.
            max_det: At most so many detections per image.
            agnostic: Boxes of different classes suppress each other, too.
            imgsz: One side, or height and width, for a model of dynamic size. Without it, the size
                of the export.
            threads: Threads of ONNX Runtime; None leaves it to ONNX Runtime.
            classes: Numbers of the only classes to look for. None: all.
            providers: Execution providers of ONNX Runtime, best first: names, or
                `(name, {option: value})`.

        Raises:
            OSError: When the model can't be read.
            ValueError: When it is no model of Ultralytics' with boxes, or an argument can't work.
        """
        for name, value in {"max_det": max_det, "threads": threads}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self._conf, self._iou = _fraction("conf", conf), _fraction("iou", iou)
        self._max_det, self._agnostic = max_det, agnostic
        self._model = Model(model, threads, providers)
        self._size = self._model.size if imgsz is None else _size(imgsz, self._model)
        self._classes = None if classes is None else _classes(classes, self._model)

    @property
    def names(self) -> dict[int, str]:
        """Class number -> name."""
        return dict(self._model.names)

    @property
    def imgsz(self) -> Size:
        """Height and width into which images are fitted."""
        return self._size

    @property
    def unread(self) -> str:
        """What the model gives beside boxes and is not read: `masks`, `keypoints`, or nothing."""
        return UNREAD[self._model.task]

    @overload
    def __call__(
        self, image: Source, conf: float | None = None, iou: float | None = None
    ) -> Detections: ...

    @overload
    def __call__(
        self, image: Many, conf: float | None = None, iou: float | None = None
    ) -> list[Detections]: ...

    def __call__(
        self,
        image: Source | Many,
        conf: float | None = None,
        iou: float | None = None,
    ) -> Detections | list[Detections]:
        """Detect in one image, or in each of a list.

        Args:
            image: A path; a BGR array (H, W, 3) of uint8, or a grey one, with alpha or of uint16 as
                `images.as_bgr` takes them; or a list of these.
            conf: For this call, instead of the detector's.
            iou: For this call, instead of the detector's.

        Raises:
            OSError: When a file can't be read.
            ValueError: When an image is none of these, with its path or its place in the list.
        """
        conf = self._conf if conf is None else _fraction("conf", conf)
        iou = self._iou if iou is None else _fraction("iou", iou)
        if not isinstance(image, (list, tuple)):
            return next(self._detect([_load(image, "image")], conf, iou))
        detections: list[Detections] = []
        loaded = (_load(each, f"image {i} of the list") for i, each in enumerate(image))
        for _, neighbours in groupby(loaded, lambda each: each.shape):
            while batch := list(islice(neighbours, self._model.batch)):
                detections += self._detect(batch, conf, iou)
        return detections

    def _detect(self, batch: list[Image], conf: float, iou: float) -> Iterator[Detections]:
        model = self._model
        height, width = batch[0].shape[:2]
        fitted = fit((height, width), self._size, model.stride if model.dynamic else None)
        count = len(batch) if model.dynamic else model.batch
        blob = np.empty((count, 3, *fitted.size), model.dtype)
        blob[len(batch) :] = 0
        for row, image in zip(blob, batch, strict=False):
            fill(row, image, fitted)
        outputs = model.run(blob)
        for i in range(len(batch)):
            yield self._decode([output[i] for output in outputs], fitted, conf, iou)

    def _decode(
        self, outputs: list[np.ndarray], fitted: Fit, conf: float, iou: float
    ) -> Detections:
        model, limit = self._model, self._max_det
        rows, *prototypes = outputs
        rotated = model.task == "obb"
        if not model.suppressed:
            rows = candidates(rows, len(model.names), conf, rotated)
        rows = rows[rows[:, 4] > conf]
        if self._classes is not None:
            rows = rows[np.isin(rows[:, 5], self._classes)]
        if not model.suppressed:
            rows = non_max_suppression(rows, iou, limit, self._agnostic, rotated)
        boxes, scores, classes, rest = np.split(rows[:limit], (4, 5, 6), axis=1)
        if prototypes:
            filled = have_masks(prototypes[0], rest, boxes, fitted.size)
            boxes, scores, classes = boxes[filled], scores[filled], classes[filled]
        found = (scores[:, 0], classes[:, 0].astype(np.int64), model.names)
        if not rotated:
            return Detections(restore(boxes, fitted), *found)
        turned = restore_rotated(np.hstack((boxes, rest[:, -1:])), fitted)
        corners = rotated_corners(turned)
        return Detections(np.hstack((corners.min(1), corners.max(1))), *found, turned)


def _load(image: object, name: str) -> Image:
    if isinstance(image, (str, os.PathLike)):
        return images.read(image)
    return images.as_bgr(image, name)


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:  # true for NaN, too
        raise ValueError(f"{name} must be from 0 to 1, got {value}")
    return value


def _classes(classes: int | Sequence[int], model: Model) -> list[int]:
    wanted: list[int] = np.atleast_1d(classes).tolist()
    if unknown := [number for number in wanted if number not in model.names]:
        known = ", ".join(f"{number} {name}" for number, name in [*model.names.items()][:20])
        raise ValueError(f"classes: {unknown[0]} is no class of the model; it has {known}")
    return wanted


def _size(imgsz: int | Sequence[int], model: Model) -> Size:
    sides: list[int] = np.atleast_1d(imgsz).tolist()
    if len(sides) not in (1, 2):
        raise ValueError(f"imgsz must be one number or two, got {imgsz}")
    height, width = sides[0], sides[-1]
    if not model.dynamic and (height, width) != model.size:
        raise ValueError(
            f"imgsz {height}x{width}: the model was exported for {model.size[0]}x{model.size[1]} "
            "only; export it with dynamic=True"
        )
    for side in (height, width):
        if side < 1 or side % model.stride:
            raise ValueError(f"imgsz must be multiples of {model.stride}, got {side}")
    return height, width
