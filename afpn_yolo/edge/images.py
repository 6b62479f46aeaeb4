"""Read and check images: what a detector takes is 8-bit BGR, and anything else is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (height, width, 3), BGR, as OpenCV reads it

JPEG = b"\xff\xd8"


def read(path: str | os.PathLike[str]) -> Image:
    """Read an image file; its EXIF orientation is applied.

    Raises:
        OSError: When the file can't be read.
        ValueError: When it is no whole image, or not an 8-bit colour image without transparency.
    """
    # Reading in Python gives an error that names the reason, and takes any file name on Windows.
    data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    image = _decode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise ValueError(f"{path}: empty, damaged, or no image that OpenCV reads")
    if data[:2].tobytes() != JPEG:  # JPEG has no transparency; elsewhere only UNCHANGED shows it
        whole = _decode(data, cv2.IMREAD_UNCHANGED)
        image = whole if whole is not None and whole.shape[2:] == (4,) else image
    return check(image, str(path))


def _decode(data: Image, flags: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(data, flags)
    except cv2.error:  # an empty file, or a decoder that refuses a damaged one
        return None


def check(image: object, name: str) -> Image:
    """Return the image as it is.

    Args:
        image: What a caller handed in.
        name: What to call it in an error.

    Raises:
        ValueError: When it is not an (H, W, 3) array of uint8 with at least one pixel.
    """
    if not isinstance(image, np.ndarray):
        kind = "None, as cv2.imread gives" if image is None else type(image).__name__
        raise ValueError(f"{name}: expected a path or an OpenCV BGR array, got {kind}")
    if image.size == 0:
        raise ValueError(f"{name}: no pixels in an image of shape {image.shape}")
    fault = _wrong_type(image) or _wrong_channels(image)
    if fault:
        raise ValueError(f"{name}: {fault}")
    return image


def _wrong_type(image: NDArray[Any]) -> str | None:
    if image.dtype == np.uint8:
        return None
    if image.dtype == np.uint16:
        return "a 16-bit image; bring it to 8 bits, as by (image // 256).astype(numpy.uint8)"
    nan = image.dtype.kind == "f" and bool(np.isnan(image).any())
    return f"values of type {image.dtype}{', NaN among them' if nan else ''}; give uint8, 0 to 255"


def _wrong_channels(image: NDArray[Any]) -> str | None:
    if image.ndim == 3 and image.shape[2] == 3:
        return None
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        return "a grey image; convert it, as by cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)"
    if image.ndim == 3 and image.shape[2] == 4:
        return "an RGBA image; convert it, as by cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)"
    return f"shape {image.shape}; give one image of shape (height, width, 3)"
