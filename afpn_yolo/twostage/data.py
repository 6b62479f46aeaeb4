"""Data sets as torchvision's detectors take them: YOLO's format or COCO's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from ultralytics.utils.patches import imread

from afpn_yolo.evaluation.coco_dataset import read_names
from afpn_yolo.evaluation.datasets import DataSet, read_data
from afpn_yolo.upstream.data import open_data
from afpn_yolo.upstream.log import warn

Target = dict[str, Tensor]
SPLITS = ("train", "val")
COCO_FILES = "annotations/instances_{}2017.json"


@dataclass(frozen=True)
class Source:
    """Where the images of a training and of its evaluation are.

    Attributes:
        train: A data YAML, or a JSON in COCO's format.
        val: The same, or another JSON.
        train_images, val_images: Folders of a JSON's images; None looks where COCO keeps them.
    """

    train: str
    val: str
    train_images: str | None = None
    val_images: str | None = None

    @classmethod
    def named(
        cls,
        data: str,
        val: str | None = None,
        train_images: str | None = None,
        val_images: str | None = None,
    ) -> Source:
        """From what a user names: a data YAML, two JSONs, or COCO's folder.

        Raises:
            ValueError: On a JSON without another for the evaluation, or a second file beside a
                YAML.
        """
        if Path(data).is_dir():
            files = [Path(data) / COCO_FILES.format(split) for split in SPLITS]
            if missing := [file for file in files if not file.is_file()]:
                raise ValueError(f"{data}: a folder must be laid out as COCO's, with {missing[0]}")
            return cls(str(files[0]), val or str(files[1]), train_images, val_images)
        if data.endswith(".json"):
            if not val:
                raise ValueError(f"{data}: name the JSON to evaluate on, too: --val FILE.json")
            return cls(data, val, train_images, val_images)
        if val or train_images or val_images:
            raise ValueError(
                f"{data} says itself what its splits are: leave --val and --images out"
            )
        return cls(data, data)


def class_names(source: Source) -> dict[int, str]:
    """The classes of a training's data, from 0 on; of a JSON, by the ids of its categories.

    Raises:
        EvaluationError: When the data can't be read.
    """
    if not source.train.endswith(".json"):
        return dict(open_data(source.train)["names"])
    return dict(enumerate(read_names(Path(source.train))))


def read(source: Source, split: str, names: Mapping[int, str]) -> DataSet:
    """Read the images and objects of one split, `train` or `val`.

    Raises:
        EvaluationError: When they can't be read, or aren't of these classes.
    """
    file = source.train if split == "train" else source.val
    folder = source.train_images if split == "train" else source.val_images
    data_set = read_data(file, names, split, folder, "the detector")
    if data_set.damaged:
        path, reason = next(iter(data_set.damaged.items()))
        warn(f"{file}: {len(data_set.damaged)} images are left out, e.g. {path}: {reason}")
    return data_set


class Images(Dataset[tuple[Tensor, Target]]):
    """Images and their objects, as torchvision's detectors take them in training and evaluation.

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
        keep = (truth[:, 7] == 0) & (truth[:, 4:6] > 0).all(1)
        self._truth = truth[keep]
        self._files = data_set.images
        self._sizes = data_set.sizes
        self._transform = transform
        places = np.arange(len(self._files))
        self.places = places if empty else np.intersect1d(places, self._truth[:, 0].astype(int))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        place = int(self.places[index])
        try:
            pixels = imread(str(self._files[place]), cv2.IMREAD_COLOR)
        except Exception:  # releases differ in what they raise, and for what they give None
            pixels = None
        if pixels is None:
            raise ValueError(f"{self._files[place]}: it can't be decoded; repair or remove it")
        image = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)))
        rows = self._truth[self._truth[:, 0] == place]
        height, width = image.shape[1:]
        corners = np.concatenate((rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]), 1)
        corners = corners.clip(0, [width, height] * 2)
        boxes = tv_tensors.BoundingBoxes(
            torch.from_numpy(corners).float(), format="XYXY", canvas_size=(height, width)
        )
        labels = torch.from_numpy(rows[:, 1]).long() + 1
        target: dict[str, Any] = {"boxes": boxes, "labels": labels}
        whole = tv_tensors.Image(image)
        if self._transform is not None:
            whole, target = self._transform(whole, target)
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


def collate(items: list[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
    """Images of different sizes stay a list: torchvision's detectors batch them."""
    images, targets = zip(*items, strict=True)
    return list(images), list(targets)
