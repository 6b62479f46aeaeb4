"""A detection data set: its images, and one table of all their objects; read from YOLO's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.evaluation.coco import Floats
from afpn_yolo.upstream.data import Size, label_path, read_labels, read_sizes
from afpn_yolo.upstream.log import warn

Id = int | float | str


@dataclass(frozen=True)
class DataSet:
    """The N images that can be read, and what is on them.

    Attributes:
        images: Paths of the images.
        sizes: Their heights and widths, upright.
        truth: (M, 8), columns as in `coco.GROUND_TRUTH`; an image's number is its place in
            `images`, boxes and areas are in pixels of the original.
        names: Class number, as the model counts, to name.
        ids: COCO's id of each image; their places where the labels know none.
        categories: COCO's id of each class, in the order of `names`.
        damaged: Images that were left out with their objects, and why. Those that turned out to
            be unreadable when they were decoded are among `images`, too.
        area: What an object's area is.
    """

    images: list[Path]
    sizes: list[Size]
    truth: Floats
    names: dict[int, str]
    ids: Sequence[Id]
    categories: Sequence[Id]
    damaged: dict[Path, str]
    area: str

    @classmethod
    def of(
        cls,
        file: str | Path,
        sizes: Mapping[Path, Size],
        tables: Mapping[Path, Floats],
        damaged: dict[Path, str],
        **fields: Any,
    ) -> DataSet:
        """The set of some images; `tables` (N, 7) are their objects, without the image's number.

        Raises:
            EvaluationError: When there is none; it names the file of the set.
        """
        if not sizes:
            first, reason = next(iter(damaged.items()))
            raise EvaluationError(
                f"{file}: none of its {len(damaged)} images can be used; {first}: {reason}"
            )
        numbered = [np.insert(tables[image], 0, i, axis=1) for i, image in enumerate(sizes)]
        truth = np.concatenate(numbered)
        return cls([*sizes], [*sizes.values()], truth, damaged=damaged, **fields)

    def without(self, failed: dict[int, str]) -> DataSet:
        """The set without the objects of images that turned out to be unreadable.

        Their places stay, so that detections keep their numbers.
        """
        damaged = {self.images[place]: reason for place, reason in failed.items()}
        truth = self.truth[~np.isin(self.truth[:, 0], list(failed))]
        return replace(self, truth=truth, damaged={**self.damaged, **damaged})


def read_yolo(data: str, split: str, content: dict[str, Any], images: list[Path]) -> DataSet:
    """Read the labels of the images that `images_of` finds for one split of a data YAML.

    Raises:
        EvaluationError: When no image has a label file, or none can be used.
    """
    missing = [image for image in images if not label_path(image).is_file()]
    if len(missing) == len(images):
        raise EvaluationError(
            f"{data}: none of the {len(images)} images of split {split!r} has a label file; "
            f"expected e.g. {label_path(images[0])}"
        )
    if missing:
        warn(f"{data}: {len(missing)} images without a label file are backgrounds")
    sizes, damaged = read_sizes(images)
    labels, faulty = read_labels(sizes, content)
    sizes = {image: size for image, size in sizes.items() if image in labels}
    return DataSet.of(
        data,
        sizes,
        {image: _to_pixels(size, labels[image]) for image, size in sizes.items()},
        damaged | faulty,
        names=content["names"],
        ids=range(len(sizes)),
        categories=[*content["names"]],
        area="boxes of the YOLO labels",
    )


def _to_pixels(size: Size, labels: Floats) -> Floats:
    """(N, 7), a row of the ground truth without its image, from the labels of one image."""
    height, width = size
    number, x, y, w, h = labels.T * np.array([[1], [width], [height], [width], [height]])
    return np.stack([number, x - w / 2, y - h / 2, w, h, w * h, np.zeros(len(labels))], 1)
