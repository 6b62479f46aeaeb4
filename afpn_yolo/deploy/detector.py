"""Quantise a detector on a user's images, which show the values that its features usually have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from afpn_yolo.deploy.static import quantize
from afpn_yolo.edge import images
from afpn_yolo.edge.letterbox import fill, fit
from afpn_yolo.edge.model import Model
from afpn_yolo.edge.sources import find_images
from afpn_yolo.upstream.data import images_of
from afpn_yolo.upstream.log import progress

CPUINFO = Path("/proc/cpuinfo")
VNNI = {"avx512_vnni", "avx_vnni"}
"""Flags of x86 processors that add up 8-bit products in 32 bits; others do it in 16."""


def quantize_detector(
    source: Path,
    target: Path,
    paths: Sequence[Path],
    keep: Sequence[str] = (),
    reduce_range: bool = False,
) -> tuple[list[str], tuple[int, ...]]:
    """Quantise an ONNX detector that Ultralytics exported.

    Args:
        source: The float model.
        target: File to write.
        paths: The images to calibrate on.
        keep: Shell patterns of names of nodes that stay in float, beside those that always do.
        reduce_range: 7-bit weights, for x86 processors without VNNI.

    Returns:
        Names of the nodes that stay in float, and the shape of an input of both models.

    Raises:
        OSError, ValueError: When the model or an image can't be used.
    """
    model = Model(source)
    if model.dtype != np.float32:
        raise ValueError(f"{source} takes half precision; export it in float32")
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} is the float model itself; choose another --output")
    name = onnx.load(source, load_external_data=False).graph.input[0].name
    size = 1 if model.dynamic else model.batch
    floats = quantize(source, target, _inputs(model, name, size, paths), keep, reduce_range)
    return floats, (size, 3, *model.size)


def _inputs(
    model: Model, name: str, size: int, paths: Sequence[Path]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Batches of `size` images for the input `name`; the last one is filled with the first ones."""
    for start in progress(range(0, len(paths), size), "Calibrating"):
        batch = (paths[i % len(paths)] for i in range(start, start + size))
        yield {name: np.stack([_input(path, model) for path in batch])}


def _input(path: Path, model: Model) -> NDArray[Any]:
    """Read an image as detection does: (3, H, W), red first, 0 to 1, padded with grey."""
    image = images.read(path)
    height, width = image.shape[:2]
    fitted = fit((height, width), model.size, model.stride if model.dynamic else None)
    target = np.empty((3, *fitted.size), model.dtype)
    fill(target, image, fitted)
    return target


def calibration_images(data: str, split: str, count: int) -> list[Path]:
    """At most `count` images of a data set, evenly spread: neighbours in a folder are often alike.

    Args:
        data: A data YAML, as `yolo` finds it; or an image, a folder or a pattern.
        split: Of a data YAML.
        count: The largest number of images.

    Raises:
        OSError, ValueError: When there are none.
    """
    is_yaml = data.endswith((".yaml", ".yml"))
    paths = images_of(data, split) if is_yaml else find_images(data)
    if len(paths) <= count:
        return [*paths]
    return [paths[i * len(paths) // count] for i in range(count)]


def overflows() -> bool:
    """Whether 8-bit products overflow here: an x86 processor without VNNI, as far as we can see."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    # ARM's line is called "Features".
    flags = next((line.split() for line in lines if line.startswith("flags")), None)
    return flags is not None and VNNI.isdisjoint(flags)
