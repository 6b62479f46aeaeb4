"""Data sets as torchvision's detectors take them: YOLO's format or COCO's JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from afpn_yolo.base.files import is_json
from afpn_yolo.edge.images import read as read_image
from afpn_yolo.evaluation.coco_dataset import read_names
from afpn_yolo.evaluation.datasets import DataSet
from afpn_yolo.evaluation.evaluate import read_data
from afpn_yolo.evaluation.fingerprint import coco_digest, data_digest
from afpn_yolo.twostage.config import TrainConfig
from afpn_yolo.upstream.data import open_data
from afpn_yolo.upstream.log import warn

Target = dict[str, Tensor]
SPLITS = ("train", "val")
COCO_FILES = "annotations/instances_{}2017.json"


def files(config: TrainConfig) -> dict[str, tuple[str, str | None]]:
    """Of each of `SPLITS` its file, and the folder of its images where that isn't as in COCO."""
    data, train, val = config.data, config.data, config.val
    if Path(data).is_dir():
        usual = [Path(data) / COCO_FILES.format(split) for split in SPLITS]
        if missing := [file for file in usual if not file.is_file()]:
            raise ValueError(f"{data}: a folder must be laid out as COCO's, with {missing[0]}")
        train, val = str(usual[0]), val or str(usual[1])
    elif not is_json(data):
        if val or config.images or config.val_images:
            raise ValueError(f"{data} names its splits itself: leave --val-json and --images out")
        val = data
    if not val:
        raise ValueError(f"{data}: name the JSON to evaluate on, too: --val-json FILE.json")
    return dict(zip(SPLITS, ((train, config.images), (val, config.val_images)), strict=True))


def class_names(config: TrainConfig) -> dict[int, str]:
    """The classes of a training's data, from 0 on; of a JSON, by the ids of its categories."""
    file, _ = files(config)["train"]
    return dict(enumerate(read_names(Path(file))) if is_json(file) else open_data(file)["names"])


def read(config: TrainConfig, split: str, names: Mapping[int, str]) -> DataSet:
    """Read the images and objects of one split, `train` or `val`."""
    file, folder = files(config)[split]
    data_set = read_data(file, names, split, folder, "the detector")
    if data_set.damaged:
        path, reason = next(iter(data_set.damaged.items()))
        warn(f"{file}: {len(data_set.damaged)} images are left out, e.g. {path}: {reason}")
    return data_set


def digest_of(config: TrainConfig) -> str:
    """SHA-256 of the data, as `data_digest` and `coco_digest` give it."""
    if not is_json(files(config)["train"][0]):
        return data_digest(config.data, SPLITS)  # that of YOLO's comparisons on the same data
    digest = hashlib.sha256()
    for split, (file, folder) in files(config).items():
        part = coco_digest(file, folder) if is_json(file) else data_digest(file, (split,))
        digest.update(part.encode())
    return digest.hexdigest()


class Images(Dataset[tuple[Tensor, Target]]):
    """Images and their objects, as torchvision's detectors take them.

    An item is an image (3, H, W), red first, from 0 to 1, and its target: `boxes` (N, 4) left, top,
    right, bottom in pixels, `labels` (N,) from 1 on, and `image_id`, its place. Crowds are no
    objects to learn from, nor are boxes without area.

    Args:
        data_set: What `read` gives.
        transform: What to do with image and target; see `augmentation`.
        empty: Whether images without objects are among them.
    """

    def __init__(
        self, data_set: DataSet, transform: v2.Transform | None = None, empty: bool = True
    ) -> None:
        truth = data_set.truth
        self._truth = truth[(truth[:, 7] == 0) & (truth[:, 4:6] > 0).all(1)]
        self._files, self._transform = data_set.images, transform or v2.Identity()
        places = np.arange(len(self._files))
        self.places = places if empty else np.intersect1d(places, self._truth[:, 0].astype(int))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        place = int(self.places[index])
        pixels = read_image(self._files[place])
        image = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)))
        rows = self._truth[self._truth[:, 0] == place]
        height, width = image.shape[1:]
        corners = np.concatenate((rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]), 1)
        corners = corners.clip(0, [width, height] * 2)
        boxes = tv_tensors.BoundingBoxes(
            torch.from_numpy(corners).float(), format="XYXY", canvas_size=(height, width)
        )
        labels = torch.from_numpy(rows[:, 1]).long() + 1
        whole, target = self._transform(tv_tensors.Image(image), {"boxes": boxes, "labels": labels})
        return whole.as_subclass(Tensor).float() / 255, {
            "boxes": target["boxes"].as_subclass(Tensor),
            "labels": target["labels"],
            "image_id": torch.tensor(place),
        }


def augmentation(flip: float = 0.5, crop: float = 1.0) -> v2.Transform:
    """What happens to an image of a training before it is resized.

    Args:
        flip: How often it is mirrored, 0 to 1.
        crop: The smallest share of a side that a random window keeps (torchvision's
            `RandomIoUCrop`); 1 keeps all of every image.
    """
    steps: list[v2.Transform] = [v2.RandomHorizontalFlip(flip)]
    if crop < 1:
        steps.append(v2.RandomIoUCrop(min_scale=crop))
    return v2.Compose([*steps, v2.SanitizeBoundingBoxes()])


def collate(items: list[tuple[Tensor, Target]]) -> list[list[Any]]:
    """Images of different sizes stay a list: torchvision's detectors batch them."""
    return [list(part) for part in zip(*items, strict=True)]
