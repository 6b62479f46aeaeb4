"""Images that show a model's usual values, prepared as detection prepares them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afpn_yolo.edge import images
from afpn_yolo.edge.letterbox import fill, fit
from afpn_yolo.edge.model import Model
from afpn_yolo.edge.sources import find_images
from afpn_yolo.upstream.data import images_of
from afpn_yolo.upstream.log import progress


def inputs(model: Model, name: str, paths: Sequence[Path]) -> Iterator[dict[str, NDArray[Any]]]:
    """Inputs of a model that will be quantised, batch by batch.

    Args:
        model: The model.
        name: The name of its input.
        paths: The images. A model of a fixed batch size sees the first ones again at the end.
    """
    size = 1 if model.dynamic else model.batch
    for start in progress(range(0, len(paths), size), "Calibrating"):
        places = (i % len(paths) for i in range(start, start + size))
        yield {name: np.stack([blob(paths[i], model) for i in places])}


def blob(path: Path, model: Model) -> NDArray[Any]:
    """Read an image into a model's input (3, H, W), red first, 0 to 1, padded with grey.

    Raises:
        OSError: When the file can't be read.
        ValueError: When it is no image that detection takes.
    """
    image = images.read(path)
    height, width = image.shape[:2]
    fitted = fit((height, width), model.size, model.stride if model.dynamic else None)
    target = np.empty((3, *fitted.size), model.dtype)
    fill(target, image, fitted)
    return target


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
