"""Run Ultralytics' own validator and take the detections, so that they are those of `yolo val`.

Nothing is written outside a temporary folder.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from ultralytics.data.augment import LetterBox
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.nn.tasks import guess_model_task
from ultralytics.utils import YAML
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.patches import imread

from afpn_yolo.upstream.data import Size
from afpn_yolo.upstream.loading import LoadedModel, cores
from afpn_yolo.upstream.log import one_line, quiet, warn

NMS_IOU, MAX_DETECTIONS = 0.7, 300  # the validator's
CONFIDENCE = 0.25  # the lowest that `yolo predict` shows
WORKERS = 8  # processes that load images; Ultralytics' default
PAD = 0.5  # of a stride, added to a batch's rectangle, as in the validator
COLUMNS = 7  # image, class, left, top, width, height, score

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """What a model detects on N images.

    Attributes:
        rows: (M, 7): image, class, left, top, width, height, score. By image and falling score;
            boxes in pixels of the original.
        failed: Which images could not be decoded, with the reason.
        imgsz: Height and width that images were resized to.
        square: Whether every image was padded to that.
    """

    rows: Floats
    failed: dict[int, str]
    imgsz: Size
    square: bool


def predict(
    model: LoadedModel,
    images: list[Path],
    sizes: list[Size],
    imgsz: int | None = None,
    batch: int = 16,
    square: bool = False,
    clip: bool = False,
    max_det: int = MAX_DETECTIONS,
) -> Predictions:
    """Detect the objects on N images.

    Args:
        model: The model. One that was exported at a fixed size takes that size.
        images: Their paths.
        sizes: Heights and widths, upright.
        imgsz: What an image's longer side is resized to; None takes the model's own size.
        batch: Images at a time.
        square: Pad every image to a square. Otherwise a model that can take them gets rectangles,
            which a model of a fixed size never can.
        clip: Cut boxes off at the image's edge, as `yolo predict` does. `yolo val` judges them as
            they are predicted.
        max_det: Detections to keep for an image, the best ones.
    """
    imgsz = imgsz or model.imgsz
    with TemporaryDirectory(prefix="afpn-evaluation-") as folder:
        yaml = Path(folder, "data.yaml")
        content = {"train": ".", "val": ".", "names": model.names, "channels": model.channels}
        YAML.save(yaml, {"path": folder, **content})
        options: dict[str, Any] = {
            **{"mode": "val", "split": "val", "plots": False, "verbose": False},
            **{"data": str(yaml), "device": model.device, "model": model.source},
            **{"batch": batch, "rect": not square, "max_det": max_det},
            "imgsz": model.imgsz if model.fixed else imgsz,
        }
        collector = Collector(model.fixed, images, sizes, clip, Path(folder), options)
        with quiet(warnings=True), redirect_stdout(sys.stderr):  # the bar is no result
            collector(model=deepcopy(model.model))  # layers are fused in place
    height, width = collector.shape
    if model.fixed and (imgsz, imgsz) != model.fixed:
        warn(f"{model.source} takes {width} x {height} pixels only, imgsz={imgsz} is not used")
    rows = np.concatenate([np.zeros((0, COLUMNS)), *collector.rows])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return Predictions(rows, collector.failed, (height, width), not collector.args.rect)


class UnlabelledDataset(Dataset[dict[str, Any]]):
    """Images without labels. No cache is read or written.

    Args:
        images: Files.
        sizes: Their heights and widths, upright.
        shape: Height and width of the input.
        batch: Images at a time.
        stride: Of the model's coarsest level; the images are sorted by aspect ratio, and each batch
            is padded to the smallest rectangle. None pads all to `shape`.
        channels: Three, one for grey.
    """

    def __init__(
        self,
        images: Sequence[Path],
        sizes: Sequence[Size],
        shape: Size,
        batch: int,
        stride: int | None,
        channels: int,
    ) -> None:
        self.images, self.sizes, self.shape, self.batch = images, sizes, shape, batch
        self.flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR
        self.order = [*range(len(images))]
        self.shapes = [shape] * math.ceil(len(images) / batch)
        if stride:
            ratios = [height / width for height, width in sizes]
            self.order.sort(key=lambda place: ratios[place])
            for i in range(len(self.shapes)):
                places = self.order[i * batch : (i + 1) * batch]
                low, high = ratios[places[0]], ratios[places[-1]]
                sides = np.array([min(high, 1), min(1 / low, 1)]) * max(shape)
                height, width = np.ceil(sides / stride + PAD).astype(int) * stride
                self.shapes[i] = (int(height), int(width))

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """An image (C, H, W), uint8, its place in `images`, and how it was resized.

        One that can't be decoded is black, and `failed` says why.
        """
        place = self.order[index]
        height, width = self.sizes[place]
        image, failed = self._decode(place)
        side, shape = max(self.shape), self.shapes[index // self.batch]
        ratio = side / max(height, width)
        if ratio != 1:  # the rounding of Ultralytics' own datasets
            scaled = [min(math.ceil(x * ratio), side) for x in (width, height)]
            image = cv2.resize(image, scaled, interpolation=cv2.INTER_LINEAR)
        image = image[..., None] if image.ndim == 2 else image
        ratio = min(shape[0] / image.shape[0], shape[1] / image.shape[1], 1)
        gain = [image.shape[0] / height * ratio, image.shape[1] / width * ratio]
        pad = [
            round((whole - round(part * ratio)) / 2 - 0.1)
            for whole, part in zip(shape, image.shape[:2], strict=True)
        ]
        padded = LetterBox(shape, scaleup=False)(image=image)
        channels = padded.transpose(2, 0, 1)
        channels = channels[::-1] if len(channels) == 3 else channels
        tensor = torch.from_numpy(np.ascontiguousarray(channels))
        return {"img": tensor, "place": place, "failed": failed, "gain": gain, "pad": pad}

    def _decode(self, place: int) -> tuple[NDArray[Any], str]:
        expected = self.sizes[place]
        try:
            image = imread(str(self.images[place]), self.flag)
            if image is not None and image.shape[:2] == expected:
                return image, ""
            failed = "it can't be decoded"
            if image is not None:
                failed = f"its header says {expected}, decoded it is {image.shape[:2]}"
        except Exception as error:  # OpenCV and Pillow have their own kinds
            failed = one_line(error)
        channels = () if self.flag == cv2.IMREAD_GRAYSCALE else (3,)
        return np.zeros((*expected, *channels), np.uint8), failed


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch: the images stacked to (B, C, H, W), the rest as lists."""
    batch: dict[str, Any] = {key: [item[key] for item in items] for key in items[0]}
    return {**batch, "img": torch.stack(batch["img"])}


class Collector(DetectionValidator):  # type: ignore[misc]
    """Ultralytics' validator, which keeps the detections and computes no metrics.

    Attributes:
        rows: A table for each image.
        failed: Places of images that could not be decoded, and why.
        shape: Height and width of the input that images are resized to.
    """

    def __init__(
        self,
        fixed: Size | None,
        images: list[Path],
        sizes: list[Size],
        clip: bool,
        folder: Path,
        options: dict[str, Any],
    ) -> None:
        super().__init__(save_dir=folder, args=options)
        self._fixed, self._images, self._sizes, self._clip = fixed, images, sizes, clip
        self.rows: list[Floats] = []
        self.failed: dict[int, str] = {}
        self.shape = fixed or (self.args.imgsz, self.args.imgsz)

    def get_dataloader(self, dataset_path: str, batch_size: int) -> Any:
        """The images; the validator has opened the model by now."""
        # A fixed batch is filled up with the last image, whose doubles `update_metrics` drops.
        spare = -len(self._images) % self.args.batch if self._fixed else 0
        dataset = UnlabelledDataset(
            self._images + self._images[-1:] * spare,
            self._sizes + self._sizes[-1:] * spare,
            self.shape,
            batch_size,
            int(self.stride) if self.args.rect else None,
            self.data["channels"],
        )
        # Where processes are spawned, they would run a user's script once more.
        forks = torch.multiprocessing.get_start_method() == "fork"
        on_cpu = self.device.type == "cpu"
        workers = min(WORKERS, cores(), len(dataset.shapes) - 1) if forks or not on_cpu else 0
        return DataLoader(
            dataset, batch_size, num_workers=workers, collate_fn=collate, pin_memory=not on_cpu
        )

    def postprocess(self, preds: Any) -> list[torch.Tensor]:
        """NMS without Ultralytics' time limit, which silently drops the images of a slow batch."""
        while isinstance(preds, (list, tuple)):  # behind the boxes there are losses and masks
            preds = preds[0]
        boxes: list[torch.Tensor] = non_max_suppression(
            preds,
            self.args.conf,
            self.args.iou,
            nc=self.nc,
            multi_label=True,
            max_det=self.args.max_det,
            max_time_img=math.inf,
            # Older releases leave an export's metadata a string.
            end2end=str(self.end2end) == "True",
        )
        return boxes

    def update_metrics(self, preds: list[torch.Tensor], batch: dict[str, Any]) -> None:
        """Keep the boxes of one batch, in pixels of the originals."""
        facts = (batch[key] for key in ("place", "failed", "gain", "pad"))
        for place, failed, (down, across), (top, left), pred in zip(*facts, preds, strict=True):
            if place >= len(self._images):
                continue
            if failed:
                self.failed[place] = failed
                continue
            table = pred.cpu().numpy().astype(float)
            corners = (table[:, :4] - [left, top, left, top]) / [across, down, across, down]
            if self._clip:
                height, width = self._sizes[place]
                corners = corners.clip(0, [width, height] * 2)
            image = np.full(len(table), float(place))
            sides = corners[:, 2:] - corners[:, :2]
            row = [image, table[:, 5], corners[:, :2], sides, table[:, 4]]
            self.rows.append(np.column_stack(row))

    def get_desc(self) -> str:
        """The title of the progress bar."""
        return "Detecting"

    def get_stats(self) -> dict[str, Any]:
        """None: the metrics are COCO's."""
        return {}

    def print_results(self) -> None:
        """Nothing: there are none."""

    def run_callbacks(self, event: str) -> None:
        """Nothing: services that watch trainings would take this for one of their own."""


def detections(model: torch.nn.Module, output: object) -> NDArray[np.float32]:
    """Boxes (N, 6) in an output of a detector: left, top, right, bottom, score, class.

    In pixels of the model's input, as `yolo predict` gives them. Empty for other tasks.
    """
    if guess_model_task(model) != "detect":
        return np.zeros((0, 6), np.float32)
    end2end = bool(getattr(model, "end2end", False))
    (best,) = non_max_suppression(output, CONFIDENCE, NMS_IOU, end2end=end2end)
    boxes: NDArray[np.float32] = best[:, :6].float().cpu().numpy()
    return boxes
