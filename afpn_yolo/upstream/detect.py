"""A model run over images as Ultralytics' validator runs it, over batches that fit in memory."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision  # noqa: F401  where it is loaded, Ultralytics takes its NMS, as in validation
from numpy.typing import NDArray
from ultralytics import YOLO
from ultralytics.engine.model import Model
from ultralytics.nn.autobackend import AutoBackend
from ultralytics.nn.tasks import BaseModel, guess_model_task
from ultralytics.utils import TQDM
from ultralytics.utils.checks import check_imgsz
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.torch_utils import select_device

from afpn_yolo.base.values import EvaluationError
from afpn_yolo.evaluation.coco import DETECTION, Floats
from afpn_yolo.evaluation.letterbox import (
    Batch,
    Placed,
    Size,
    place,
    rectangular_batches,
    square_batches,
)
from afpn_yolo.upstream.images import decode
from afpn_yolo.upstream.tell import one_line, warn

CONFIDENCE, NMS_IOU, MAX_DETECTIONS = 0.001, 0.7, 300  # the validator's
SHOWN = 0.25  # the confidence from which `yolo predict` shows a box


class Detector:
    """A model that finds objects as in `yolo val`: same input, same suppression of doubles.

    Args:
        model: Anything that `YOLO()` opens, or an open `YOLO`, which stays as it is.
        imgsz: What an image's longer side is resized to. A model that was exported at a fixed size
            takes that size.
        device: As in `yolo device=`; None chooses.
        batch: Images at a time.
        square: Pad every image to a square. Otherwise a model that can take them gets rectangles,
            which a model of a fixed size never can.
        clip: Cut boxes off at the image's edge, as `yolo predict` does. `yolo val` judges them as
            they are predicted.

    Attributes:
        names: Class number to name.
        imgsz: Height and width that images are resized into.
        square: Whether every image is padded to `imgsz`.

    Raises:
        EvaluationError: When the model can't be opened, or detects nothing by its nature.
    """

    def __init__(
        self,
        model: str | Path | Model,
        imgsz: int = 640,
        device: str | None = None,
        batch: int = 16,
        square: bool = False,
        clip: bool = False,
    ) -> None:
        self.clip = clip
        self.source = _name_of(model)
        self.backend, native = _open(model, self.source, _device(device))
        self.names: dict[int, str] = self.backend.names
        side = check_imgsz(imgsz, self.backend.stride, max_dim=1)
        self.imgsz: Size = (side, side)
        self.batch = batch
        self.fixed = not native and not getattr(self.backend, "dynamic", False)
        self.square = square or self.fixed
        if self.fixed:
            self._take_exported_size(imgsz)

    def _take_exported_size(self, asked: int) -> None:
        height, width = getattr(self.backend, "imgsz", None) or self.imgsz
        self.imgsz = (int(height), int(width))
        self.batch = int(self.backend.metadata.get("batch", 1))
        if (asked, asked) != self.imgsz:
            warn(f"{self.source} takes {width} x {height} pixels only, imgsz={asked} is not used")

    def detect(
        self, images: list[Path], sizes: list[Size], most: int = MAX_DETECTIONS
    ) -> tuple[Floats, dict[int, str]]:
        """Find the objects of N images.

        Args:
            images: Their paths.
            sizes: Heights and widths, upright.
            most: Detections to keep for an image, the best ones.

        Returns:
            (M, 7), columns as in `coco.DETECTION`, by image and falling score, boxes in pixels of
            the original; and which images could not be decoded, with the reason.
        """
        if self.square:
            batches = square_batches(len(images), self.batch, self.imgsz)
        else:
            stride = int(self.backend.stride)
            batches = rectangular_batches(sizes, self.batch, self.imgsz[0], stride)
        found: list[Floats] = [np.zeros((0, len(DETECTION)))]
        failed: dict[int, str] = {}
        with TQDM(total=len(images), desc="Detecting", unit=" images") as bar:
            for batch in batches:
                placed = {}
                for number in batch.positions:
                    try:
                        placed[number] = self._read(images[number], sizes[number], batch)
                    except Exception as error:  # OpenCV and Pillow have their own kinds
                        failed[number] = one_line(error)
                found += self._run(placed, most)
                bar.update(len(batch.positions))
        rows = np.concatenate(found)
        return rows[np.argsort(rows[:, 0], kind="stable")], failed

    def _read(self, path: Path, size: Size, batch: Batch) -> Placed:
        channels = getattr(self.backend, "channels", 3)
        flags = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}.get(channels, cv2.IMREAD_UNCHANGED)
        image = decode(path, flags)
        if image.shape[:2] != size:
            raise ValueError(f"its header says {size}, decoded it is {image.shape[:2]}")
        return place(image, self.imgsz, batch.shape)

    @torch.inference_mode()
    def _run(self, placed: dict[int, Placed], most: int) -> Iterable[Floats]:
        """The rows of the images of one batch."""
        if not placed:
            return []
        pixels = np.stack([one.pixels for one in placed.values()])
        if self.fixed and len(pixels) < self.batch:
            blank = np.zeros((self.batch - len(pixels), *pixels.shape[1:]), np.uint8)
            pixels = np.concatenate([pixels, blank])
        outputs = non_max_suppression(
            self.backend(self._tensor(pixels)),
            CONFIDENCE,
            NMS_IOU,
            multi_label=True,
            max_det=most,
            max_time_img=float("inf"),  # else what is late would count as missed
            # Older releases leave what an export says of itself a string.
            end2end=str(getattr(self.backend, "end2end", False)) == "True",
        )
        tables = [output.cpu().numpy().astype(float) for output in outputs[: len(placed)]]
        return [
            _rows(number, table, one.to_original(table[:, :4], self.clip))
            for (number, one), table in zip(placed.items(), tables, strict=True)
        ]

    def _tensor(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        images = torch.from_numpy(pixels).to(self.backend.device).permute(0, 3, 1, 2)
        images = images.flip(1) if images.shape[1] == 3 else images  # blue first -> red first
        return (images.half() if self.backend.fp16 else images.float()).contiguous() / 255


def _rows(number: int, table: Floats, corners: Floats) -> Floats:
    """From the model's rows, behind whose box stand score and class, and their boxes' corners."""
    sides = corners[:, 2:] - corners[:, :2]
    image = np.full(len(table), float(number))
    return np.column_stack([image, table[:, 5], corners[:, :2], sides, table[:, 4]])


def _name_of(model: str | Path | Model) -> str:
    if not isinstance(model, Model):
        return str(model)
    return str(model.ckpt_path or getattr(model, "cfg", None) or type(model).__name__)


def _device(name: str | None) -> torch.device:
    try:
        return select_device(name or "", verbose=False)
    except ValueError as error:
        raise EvaluationError(f"device {name!r}: {one_line(error)}") from error


def _open(model: str | Path | Model, source: str, device: torch.device) -> tuple[Any, bool]:
    """The model ready to run, and whether it is PyTorch's own."""
    options: dict[str, Any] = {"device": device, "verbose": False}
    if "end2end" in inspect.signature(AutoBackend.__init__).parameters:
        options["end2end"] = False  # the validator's default for models that have both heads
    try:
        opened = model if isinstance(model, Model) else YOLO(str(model), task="detect")
        # A copy: layers are fused in place.
        backend = AutoBackend(deepcopy(opened.model), **options).eval()
    except Exception as error:  # each format's library has its own kinds
        raise EvaluationError(f"{source} can't be opened: {one_line(error)}") from error
    if isinstance(opened.model, torch.nn.Module) and not isinstance(opened.model, BaseModel):
        kind = type(opened.model).__name__
        raise EvaluationError(f"{source} holds a {kind}, no model of Ultralytics'")
    task = getattr(backend, "task", None) or opened.task
    if task != "detect" or not isinstance(opened, YOLO):
        kind = f"{type(opened).__name__}, task {task}"
        raise EvaluationError(f"{source} is no YOLO detector: {kind}")
    return backend, isinstance(opened.model, torch.nn.Module)


def detections(model: torch.nn.Module, output: object) -> NDArray[np.float32]:
    """Boxes (N, 6) in an output of a detector: left, top, right, bottom, score, class.

    In pixels of the model's input, as `yolo predict` finds them. None for models of other tasks.
    """
    if guess_model_task(model) != "detect":
        return np.zeros((0, 6), np.float32)
    end2end = bool(getattr(model, "end2end", False))
    found = non_max_suppression(output, SHOWN, NMS_IOU, end2end=end2end)[0]
    boxes: NDArray[np.float32] = found[:, :6].float().cpu().numpy()
    return boxes
