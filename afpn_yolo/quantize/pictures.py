"""Which images a model is calibrated on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from afpn_yolo.pictures import find_images
from afpn_yolo.yolodata import images_of


def choose(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of them, evenly spread: neighbours in a folder are often alike."""
    if len(paths) <= count:
        return [*paths]
    return [paths[i * len(paths) // count] for i in range(count)]


def calibration_images(data: str, split: str, count: int) -> list[Path]:
    """Choose images of a data set.

    Args:
        data: A data YAML, as `yolo` finds it; or an image, a folder or a pattern.
        split: Of a data YAML.
        count: At most so many.

    Raises:
        OSError, ValueError: When there are none.
    """
    if data.endswith((".yaml", ".yml")):
        return choose(images_of(data, split), count)
    return choose(find_images(data), count)
