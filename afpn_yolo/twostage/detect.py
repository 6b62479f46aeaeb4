"""Detections of a two-stage detector on a data set, and their COCO metrics.

In one process or, under torchrun, in several with a GPU each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.utils.data import DataLoader, Subset
from torchvision.ops import box_convert
from tqdm import tqdm

from afpn_yolo.base.files import write_json
from afpn_yolo.evaluation.coco import DETECTION, Floats, Scores, evaluate
from afpn_yolo.evaluation.datasets import DataSet
from afpn_yolo.evaluation.evaluate import Report, read_data, report_of
from afpn_yolo.twostage.checkpoint import open_detector
from afpn_yolo.twostage.data import Images, collate


def rank() -> int:
    """The number of this process; process 0 writes and reports."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes work together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


@contextmanager
def process_group(device: str | None) -> Iterator[torch.device]:
    """Give the device to work on, inside torchrun's process group if there is one.

    Args:
        device: `cpu`, `0` or `cuda:0`; None takes this process's GPU, if there is one.

    Raises:
        ValueError: When there is no such device.
    """
    local = os.environ.get("LOCAL_RANK")  # set by torchrun
    if device is None or (local is not None and device != "cpu"):
        device = f"cuda:{local or 0}" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(f"cuda:{device}" if device.isdigit() else device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device}: {str(error).splitlines()[0]}") from None
    if local is None:
        yield chosen
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen
    finally:
        distributed.destroy_process_group()


@torch.inference_mode()
def detect(model: nn.Module, data_set: DataSet, batch: int = 8, workers: int = 0) -> Floats:
    """Detect on a data set. Several processes share the work, and all get the result.

    Args:
        model: A detector of torchvision's, on its device; it is left in evaluation mode.
        data_set: What `data.read` gives.
        batch: Images at a time. They are padded to the largest, which changes results slightly.
        workers: Processes that load images.

    Returns:
        (M, 7), columns as in `coco.DETECTION`; an image's number is its place in the set, boxes are
        in pixels of the original, clipped to it.
    """
    device = next(model.parameters()).device
    images = Images(data_set)
    mine: Any = Subset(images, range(rank(), len(images), world_size()))
    loader = DataLoader(mine, batch, num_workers=workers, collate_fn=collate)
    # None: only where the output is a terminal.
    bar = tqdm(loader, "evaluate", leave=False, disable=rank() > 0 or None)
    model.eval()
    rows = [np.zeros((0, len(DETECTION)))]
    for pictures, targets in bar:
        # In single precision: in half precision torchvision's boxes are rounded to whole pixels.
        outputs = model([picture.to(device, non_blocking=True) for picture in pictures])
        for target, output in zip(targets, outputs, strict=True):
            boxes = box_convert(output["boxes"], "xyxy", "xywh")
            labels, scores = output["labels"][:, None] - 1, output["scores"][:, None]
            place = torch.full_like(scores, int(target["image_id"]), dtype=torch.float64)
            rows.append(torch.cat((place, labels, boxes, scores), 1).cpu().numpy())
    parts = [rows] * world_size()
    if distributed.is_initialized():
        distributed.all_gather_object(parts, rows)
    return np.concatenate([np.concatenate(part) for part in parts])


def evaluate_detector(
    model: nn.Module,
    data_set: DataSet,
    batch: int = 8,
    workers: int = 0,
    server: Path | None = None,
) -> tuple[Scores, dict[str, Scores]]:
    """COCO's metrics of a detector, over all classes and of each; see `coco.evaluate`.

    Args:
        model, data_set, batch, workers: See `detect`.
        server: Where detections go for COCO's server if the data have no annotations, as test-dev;
            None makes no detections then.
    """
    labelled = len(data_set.truth) > 0
    wanted = labelled or server
    detections = detect(model, data_set, batch, workers) if wanted else np.zeros((0, 7))
    if server and not labelled and rank() == 0:
        category = dict(zip(data_set.names, data_set.categories, strict=True))
        entries = [
            {
                "image_id": data_set.ids[int(row[0])],
                "category_id": category[int(row[1])],
                "bbox": [round(float(x), 2) for x in row[2:6]],
                "score": round(float(row[6]), 5),
            }
            for row in detections
        ]
        write_json(server, entries)
    return evaluate(data_set.truth, detections, data_set.names)


def evaluate_checkpoint(
    path: Path,
    data: str,
    split: str = "val",
    device: str | None = None,
    batch: int = 16,
    images: str | None = None,
) -> Report:
    """Measure a checkpoint of `afpn train-rcnn`, at the sizes of its training.

    Args:
        path, data, split, images: See `open_detector` and `read_data`, which raise.
        device: See `process_group`.
        batch: Images at a time.
    """
    model, names = open_detector(path)
    data_set = read_data(data, names, split, images, str(path))
    with process_group(device) as chosen:
        detections = detect(model.to(chosen), data_set, batch)
    return report_of(
        data_set,
        detections,
        model=str(path),
        data=data,
        imgsz=(model.transform.min_size[-1], model.transform.max_size),
        split=split,
        square=False,
        clip=True,
    )
