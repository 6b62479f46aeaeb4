"""A model run over images by Ultralytics' own validator, which hands over what it detects.

What a model sees and how doubles are suppressed is then what `yolo val` does, by construction.
Nothing is written outside a temporary folder.
"""

from __future__ import annotations

import math
import sys
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.data.build import build_dataloader
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.nn.tasks import guess_model_task
from ultralytics.utils import YAML
from ultralytics.utils.nms import non_max_suppression

from afpn_yolo.upstream.dataset import PAD, Shown
from afpn_yolo.upstream.images import Size
from afpn_yolo.upstream.loading import LoadedModel
from afpn_yolo.upstream.log import briefly, warn
from afpn_yolo.upstream.machine import cores

NMS_IOU, MAX_DETECTIONS = 0.7, 300  # the validator's
SHOWN = 0.25  # the confidence from which `yolo predict` shows a box
LOADERS = 8  # processes that load images; Ultralytics' default
COLUMNS = 7  # image, class, left, top, width, height, score

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """What a model found on N images.

    Attributes:
        rows: (M, 7): image, class, left, top, width, height, score. By image and falling score;
            boxes in pixels of the original.
        failed: Which images could not be decoded, with the reason.
        imgsz: Height and width that images were resized into.
        square: Whether every image was padded to that.
    """

    rows: Floats
    failed: dict[int, str]
    imgsz: Size
    square: bool


def find(
    model: LoadedModel,
    images: list[Path],
    sizes: list[Size],
    imgsz: int = 640,
    batch: int = 16,
    square: bool = False,
    clip: bool = False,
    most: int = MAX_DETECTIONS,
) -> Found:
    """Find the objects of N images.

    Args:
        model: The model. One that was exported at a fixed size takes that size.
        images: Their paths.
        sizes: Heights and widths, upright.
        imgsz: What an image's longer side is resized to.
        batch: Images at a time.
        square: Pad every image to a square. Otherwise a model that can take them gets rectangles,
            which a model of a fixed size never can.
        clip: Cut boxes off at the image's edge, as `yolo predict` does. `yolo val` judges them as
            they are predicted.
        most: Detections to keep for an image, the best ones.
    """
    with TemporaryDirectory(prefix="afpn-evaluation-") as folder:
        yaml = Path(folder, "data.yaml")
        content = {"train": ".", "val": ".", "names": model.names, "channels": model.channels}
        YAML.save(yaml, {"path": folder, **content})
        options: dict[str, Any] = {
            "imgsz": imgsz,
            "batch": batch,
            "rect": not square,
            "max_det": most,
        }
        options |= {"data": str(yaml), "device": model.device, "model": model.source}
        collector = Collector(images, sizes, clip, Path(folder), options)
        with briefly(), redirect_stdout(sys.stderr):  # the bar is no result
            collector(model=deepcopy(model.model))  # layers are fused in place
    height, width = collector.shape()
    if collector.fixed and (imgsz, imgsz) != (height, width):
        warn(f"{model.source} takes {width} x {height} pixels only, imgsz={imgsz} is not used")
    rows = np.concatenate([np.zeros((0, COLUMNS)), *collector.found])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return Found(rows, collector.failed, (height, width), not collector.args.rect)


class Collector(DetectionValidator):  # type: ignore[misc]
    """Ultralytics' validator, which keeps what was detected and judges nothing.

    Attributes:
        found: A table for each image.
        failed: Places of images that could not be decoded, and why.
        fixed: Whether the model takes but one shape.
    """

    def __init__(
        self,
        images: list[Path],
        sizes: list[Size],
        clip: bool,
        folder: Path,
        options: dict[str, Any],
    ) -> None:
        args = {**options, "mode": "val", "split": "val", "plots": False, "verbose": False}
        super().__init__(save_dir=folder, args=args)
        self._images, self._sizes, self._clip = images, sizes, clip
        self.found: list[Floats] = []
        self.failed: dict[int, str] = {}
        self.fixed = False

    def shape(self) -> Size:
        """Height and width of the input that images are resized into."""
        size = self.args.imgsz
        height, width = (size, size) if isinstance(size, int) else (*size, *size)[:2]
        return int(height), int(width)

    def get_model(self, model: Any, trainer: None = None) -> Any:
        """The model: it is a copy already, which some releases would make themselves."""
        return model

    def get_dataloader(self, dataset_path: str, batch_size: int) -> Any:
        """The images, loaded by other processes; the validator has opened the model by now."""
        # It has set the shape of an export that takes but one, and forbidden rectangles.
        self.fixed = not isinstance(self.args.imgsz, int)
        dataset = Shown(
            self._images,
            self._sizes,
            imgsz=self.args.imgsz,
            augment=False,
            hyp=self.args,
            rect=self.args.rect,
            batch_size=batch_size,
            stride=int(self.stride),
            pad=PAD,
            data=self.data,
        )
        return build_dataloader(dataset, batch_size, self._loaders(), shuffle=False)

    def _loaders(self) -> int:
        """How many processes load images."""
        if self.device.type != "cpu":
            return LOADERS
        # Where a process is begun anew, it would run a script of the user's once more.
        forks = torch.multiprocessing.get_start_method() == "fork"
        return min(LOADERS, cores()) if forks else 0

    def preprocess(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Fill the last batch up for a model that takes a fixed number of images."""
        batch = super().preprocess(batch)
        image = batch["img"]
        if self.fixed and len(image) < self.args.batch:
            blank = image.new_zeros((self.args.batch - len(image), *image.shape[1:]))
            batch["img"] = torch.cat([image, blank])
        return batch

    def postprocess(self, preds: Any) -> list[torch.Tensor]:
        """As the validator's, but without its limit of time, by which what is late is missed."""
        while isinstance(preds, (list, tuple)):  # behind the boxes there are losses and masks
            preds = preds[0]
        found: list[torch.Tensor] = non_max_suppression(
            preds,
            self.args.conf,
            self.args.iou,
            nc=self.nc,
            multi_label=True,
            max_det=self.args.max_det,
            max_time_img=math.inf,
            # Older releases leave what an export says of itself a string.
            end2end=str(self.end2end) == "True",
        )
        return found

    def update_metrics(self, preds: list[torch.Tensor], batch: dict[str, Any]) -> None:
        """Keep the boxes of one batch, in pixels of the originals."""
        facts = (batch[key] for key in ("place", "failed", "ori_shape", "ratio_pad"))
        # What was predicted for blanks at the end is of no image.
        for place, failed, (height, width), (gain, pad), pred in zip(*facts, preds, strict=False):
            if failed:
                self.failed[place] = failed
                continue
            table = pred.cpu().numpy().astype(float)
            corners = (table[:, :4] - [*pad, *pad]) / [gain[1], gain[0], gain[1], gain[0]]
            if self._clip:
                corners = corners.clip(0, [width, height] * 2)
            image = np.full(len(table), float(place))
            sides = corners[:, 2:] - corners[:, :2]
            row = [image, table[:, 5], corners[:, :2], sides, table[:, 4]]
            self.found.append(np.column_stack(row))

    def get_desc(self) -> str:
        """What the progress bar says."""
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

    In pixels of the model's input, as `yolo predict` finds them. None for models of other tasks.
    """
    if guess_model_task(model) != "detect":
        return np.zeros((0, 6), np.float32)
    end2end = bool(getattr(model, "end2end", False))
    found = non_max_suppression(output, SHOWN, NMS_IOU, end2end=end2end)[0]
    boxes: NDArray[np.float32] = found[:, :6].float().cpu().numpy()
    return boxes
