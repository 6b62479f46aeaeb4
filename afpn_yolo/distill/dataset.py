"""Random views of images, for learning without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2


class Views(Dataset[Tensor]):
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
        self.images = [*images]
        self.seed = seed
        self.length = length
        self.first = first
        self.mode = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR
        self.change = v2.Compose(
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
        turn, place = divmod(k, len(self.images))
        shuffle = torch.Generator().manual_seed(self.seed * 1_000_003 + turn)
        order = torch.randperm(len(self.images), generator=shuffle)
        path = self.images[int(order[place])]
        pixels = cv2.imread(str(path), self.mode)
        if pixels is None:
            raise ValueError(f"{path} is no image that OpenCV can read")
        channels = pixels[None] if pixels.ndim == 2 else pixels[..., ::-1].transpose(2, 0, 1)
        image = torch.from_numpy(channels.copy())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + k)
            view = self.change(image)
        return view.float() / 255
