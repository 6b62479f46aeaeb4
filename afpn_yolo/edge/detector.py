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
    angle, but no masks and keypoints.

    Attributes:
        conf, iou: As given; may be set between calls.
        names: Class number -> name.
        imgsz: Height and width into which images are fitted.
        unread: What the model gives beside boxes and is not read: `masks`, `keypoints`, or nothing.
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
            providers: Execution providers of ONNX Runtime, best first; see `Model`.

        Raises:
            OSError: When the model can't be read.
            ValueError: When it is no model of Ultralytics' with boxes, or an argument can't work.
        """
        for name, value in {"conf": conf, "iou": iou}.items():
            if not 0 <= value <= 1:  # true for NaN, too
                raise ValueError(f"{name} must be from 0 to 1, got {value}")
        for name, count in {"max_det": max_det, "threads": threads}.items():
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        self.conf, self.iou, self._max_det, self._agnostic = conf, iou, max_det, agnostic
        self._model = Model(model, threads, providers)
        self._classes = None if classes is None else _classes(classes, self._model)
        self.names = self._model.names
        self.imgsz: Size = self._model.size if imgsz is None else _size(imgsz, self._model)
        self.unread = UNREAD[self._model.task]

    @overload
    def __call__(self, image: Source) -> Detections: ...

    @overload
    def __call__(self, image: Many) -> list[Detections]: ...

    def __call__(self, image: Source | Many) -> Detections | list[Detections]:
        """Detect in one image, or in each of a list.

        Args:
            image: A path; a BGR array (H, W, 3) of uint8, or a grey one, with alpha or of uint16 as
                `images.as_bgr` takes them; or a list of these.

        Raises:
            OSError: When a file can't be read.
            ValueError: When an image is none of these, with its path or its place in the list.
        """
        if not isinstance(image, (list, tuple)):
            return next(self._detect([_load(image, "image")]))
        detections: list[Detections] = []
        loaded = (_load(each, f"image {i} of the list") for i, each in enumerate(image))
        for _, neighbours in groupby(loaded, lambda each: each.shape):
            while batch := list(islice(neighbours, self._model.batch)):
                detections += self._detect(batch)
        return detections

    def _detect(self, batch: list[Image]) -> Iterator[Detections]:
        model = self._model
        fitted = fit(batch[0].shape[:2], self.imgsz, model.stride if model.dynamic else None)
        count = len(batch) if model.dynamic else model.batch
        blob = np.zeros((count, 3, *fitted.size), model.dtype)
        for row, image in zip(blob, batch, strict=False):
            fill(row, image, fitted)
        outputs = model.run(blob)
        for i in range(len(batch)):
            yield self._decode([output[i] for output in outputs], fitted)

    def _decode(self, outputs: list[np.ndarray], fitted: Fit) -> Detections:
        model, limit = self._model, self._max_det
        rows, *prototypes = outputs
        rotated = model.task == "obb"
        if not model.suppressed:
            rows = candidates(rows, len(model.names), self.conf, rotated)
        rows = rows[rows[:, 4] > self.conf]
        if self._classes is not None:
            rows = rows[np.isin(rows[:, 5], self._classes)]
        if not model.suppressed:
            rows = non_max_suppression(rows, self.iou, limit, self._agnostic, rotated)
        boxes, scores, classes, rest = np.split(rows[:limit], (4, 5, 6), axis=1)
        if prototypes:
            filled = have_masks(prototypes[0], rest, boxes, fitted.size)
            boxes, scores, classes = boxes[filled], scores[filled], classes[filled]
        if rotated:
            xywhr = restore_rotated(np.hstack((boxes, rest[:, -1:])), fitted)
            corners = rotated_corners(xywhr)
            xyxy = np.hstack((corners.min(1), corners.max(1)))
        else:
            xywhr, xyxy = None, restore(boxes, fitted)
        return Detections(xyxy, scores[:, 0], classes[:, 0].astype(np.int64), model.names, xywhr)


def _load(image: object, name: str) -> Image:
    if isinstance(image, (str, os.PathLike)):
        return images.read(image)
    return images.as_bgr(image, name)


def _classes(classes: int | Sequence[int], model: Model) -> list[int]:
    wanted: list[int] = np.atleast_1d(classes).tolist()
    if unknown := [number for number in wanted if number not in model.names]:
        known = ", ".join(f"{number} {name}" for number, name in [*model.names.items()][:20])
        raise ValueError(f"classes: {unknown[0]} is no class of the model; it has {known}")
    return wanted


def _size(imgsz: int | Sequence[int], model: Model) -> Size:
    sides: list[int] = np.atleast_1d(imgsz).tolist()
    size = (sides[0], sides[-1])
    if not model.dynamic and size != model.size:
        raise ValueError(
            f"imgsz {size[0]}x{size[1]}: the model was exported for {model.size[0]}x"
            f"{model.size[1]} only; export it with dynamic=True"
        )
    if len(sides) > 2 or any(side < 1 or side % model.stride for side in sides):
        raise ValueError(f"imgsz must be one or two multiples of {model.stride}, got {imgsz}")
    return size
