"""Images as Ultralytics prepares them for validation: resized, padded, red first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from ultralytics.data.augment import LetterBox
from ultralytics.utils.patches import imread

from afpn_yolo.upstream.data import Size
from afpn_yolo.upstream.log import one_line

PAD = 0.5  # of a stride, added to a batch's rectangle, as in the validator


class UnlabelledDataset(Dataset[dict[str, Any]]):
    """Images without labels. No cache is read or written.

    Args:
        images: Files.
        sizes: Their heights and widths, upright.
        shape: Height and width of the input.
        batch: Images at a time.
        stride: Of the model's coarsest level.
        rectangles: Sort the images by aspect ratio and pad each batch to the smallest rectangle;
            False pads all to `shape`.
        channels: Three, one for grey.
    """

    def __init__(
        self,
        images: Sequence[Path],
        sizes: Sequence[Size],
        shape: Size,
        batch: int,
        stride: int,
        rectangles: bool,
        channels: int,
    ) -> None:
        self.images, self.sizes, self.shape, self.batch = images, sizes, shape, batch
        self.flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR
        self.order = [*range(len(images))]
        self.shapes = [shape] * math.ceil(len(images) / batch)
        if rectangles:
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
            if image is None:
                failed = "it can't be decoded"
            elif image.shape[:2] == expected:
                return image, ""
            else:
                failed = f"its header says {expected}, decoded it is {image.shape[:2]}"
        except Exception as error:  # OpenCV and Pillow have their own kinds
            failed = one_line(error)
        channels = () if self.flag == cv2.IMREAD_GRAYSCALE else (3,)
        return np.zeros((*expected, *channels), np.uint8), failed


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch: the images stacked to (B, C, H, W), the rest as lists."""
    batch: dict[str, Any] = {key: [item[key] for item in items] for key in items[0]}
    return {**batch, "img": torch.stack(batch["img"])}
