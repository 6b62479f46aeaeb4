"""Random crops of images, for learning without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from afpn_yolo.edge.images import read


class RandomCrops(Dataset[Tensor]):
    """Random crops (C, imgsz, imgsz), RGB or grey from 0 to 1, of images taken in random order.

    Item k is the same in every process and after every restart.

    Args:
        images: Files.
        imgsz: Side of a crop in pixels.
        seed: Another seed, other crops.
        length: Number of items; images repeat.
        first: Number of items to leave out at the start.
        channels: Three, or one for grey.
    """

    def __init__(
        self,
        images: Sequence[Path],
        imgsz: int,
        seed: int,
        length: int,
        first: int = 0,
        channels: int = 3,
    ) -> None:
        self.images, self.seed, self.length, self.first = [*images], seed, length, first
        self.channels = channels
        self.augment = v2.Compose(
            [
                v2.RandomResizedCrop(imgsz, scale=(0.2, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.4, 0.4, 0.5, 0.015),
            ]
        )

    def __len__(self) -> int:
        return self.length - self.first

    def __getitem__(self, index: int) -> Tensor:
        if index >= len(self):
            raise IndexError(index)
        k = index + self.first
        epoch, place = divmod(k, len(self.images))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.images), generator=generator)
        pixels: NDArray[Any] = read(self.images[int(order[place])])
        if self.channels == 1:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[..., None]
        image = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + k)
            crop: Tensor = self.augment(image)
        return crop.float() / 255
