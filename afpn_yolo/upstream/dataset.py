"""Images as Ultralytics shows them to a model that is validated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ultralytics.data.dataset import YOLODataset

from afpn_yolo.upstream.images import Size
from afpn_yolo.upstream.log import one_line

PAD = 0.5  # of a stride, around a rectangle; the validator's


class Shown(YOLODataset):  # type: ignore[misc]
    """Images as Ultralytics shows them in validation, without labels; its caches are left alone."""

    def __init__(self, images: list[Path], sizes: list[Size], **options: Any) -> None:
        self._shapes = sizes
        self._images = [str(image) for image in images]
        super().__init__(img_path="", **options)
        # What a training left beside the images would be used, or rewritten: no such file.
        self.npy_files = [Path(image, "none") for image in self.im_files]

    def get_img_files(self, img_path: str) -> list[str]:
        """The images that were given."""
        return [*self._images]

    def get_labels(self) -> list[dict[str, Any]]:
        """An entry without objects for each; `place` is where the image was given."""
        return [
            {
                "im_file": image,
                "shape": shape,
                "cls": np.zeros((0, 1), np.float32),
                "bboxes": np.zeros((0, 4), np.float32),
                "segments": [],
                "normalized": True,
                "bbox_format": "xywh",
                "place": place,
            }
            for place, (image, shape) in enumerate(zip(self._images, self._shapes, strict=True))
        ]

    def set_rectangle(self) -> None:
        """As the original, and of images of one shape the first comes first on every machine."""
        super().set_rectangle()
        places = [label["place"] for label in self.labels]
        ratios = {place: self._shapes[place][0] / self._shapes[place][1] for place in places}
        self.labels.sort(key=lambda label: (ratios[label["place"]], label["place"]))
        self.im_files = [label["im_file"] for label in self.labels]

    def get_image_and_label(self, index: int) -> dict[str, Any]:
        """An image that can't be decoded is blank, and `failed` says why."""
        expected = self._shapes[self.labels[index]["place"]]
        failed = ""
        try:
            label: dict[str, Any] = super().get_image_and_label(index)
            if label["ori_shape"] != expected:
                failed = f"its header says {expected}, decoded it is {label['ori_shape']}"
        except Exception as error:  # OpenCV and Pillow have their own kinds
            failed = one_line(error)
            blank = np.zeros((*expected, self.channels), np.uint8)
            self.ims[index], self.im_hw0[index], self.im_hw[index] = blank, expected, expected
            label = super().get_image_and_label(index)
        return {**label, "failed": failed}
