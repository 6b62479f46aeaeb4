"""A detection data set as the metrics take it: images, and one table of all their objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from afpn_yolo.base.values import EvaluationError
from afpn_yolo.evaluation.coco import GROUND_TRUTH, Floats
from afpn_yolo.evaluation.letterbox import Size
from afpn_yolo.upstream.images import measure
from afpn_yolo.upstream.tell import one_line


@dataclass(frozen=True)
class DataSet:
    """The N images that can be read, and what is on them.

    Attributes:
        source: The file that the user named.
        images: Paths of the images.
        sizes: Their heights and widths, upright.
        truth: (M, 8), columns as in `coco.GROUND_TRUTH`; an image's number is its place in
            `images`, boxes and areas are in pixels of the original.
        names: Class number, as the model counts, to name.
        ids: COCO's id of each image; their places where the labels know none.
        categories: COCO's id of each class, in the order of `names`.
        damaged: Images that were left out with their objects, and why.
        undecoded: How many of them are among `images`: their headers could be read.
    """

    source: str
    images: list[Path]
    sizes: list[Size]
    truth: Floats
    names: dict[int, str]
    ids: list[int]
    categories: list[int]
    damaged: dict[Path, str]
    undecoded: int = 0

    def without(self, failed: dict[int, str]) -> DataSet:
        """The set without the objects of images that turned out to be unreadable.

        Their places stay, so that detections keep their numbers.
        """
        damaged = {self.images[place]: reason for place, reason in failed.items()}
        kept = self.truth[~np.isin(self.truth[:, 0], list(failed))]
        return replace(self, truth=kept, damaged={**self.damaged, **damaged}, undecoded=len(failed))


def read_sizes(images: Iterable[Path]) -> tuple[dict[Path, Size], dict[Path, str]]:
    """Heights and widths of what can be read, and the reasons for what can't."""
    sizes: dict[Path, Size] = {}
    damaged: dict[Path, str] = {}
    for image in images:
        try:
            sizes[image] = measure(image)
        except Exception as error:  # Pillow's plug-ins raise whatever they come across
            damaged[image] = one_line(error)
    return sizes, damaged


def check_any(source: str, images: dict[Path, Size], damaged: dict[Path, str]) -> None:
    """Raise `EvaluationError` when not one image can be read."""
    if not images:
        first, reason = next(iter(damaged.items()))
        raise EvaluationError(
            f"{source}: none of its {len(damaged)} images can be read; {first}: {reason}"
        )


def as_table(rows: list[Floats]) -> Floats:
    """Stack the tables of the images."""
    return np.concatenate([np.zeros((0, len(GROUND_TRUTH))), *rows])
