"""Read images as Ultralytics' predict reads them: whatever the file holds becomes 8-bit BGR.

The steps are those of its `imread` and `LoadPilAndNumpy`, so that boxes agree to the last bit.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (height, width, 3), BGR, as OpenCV reads it

TIFF = (".tif", ".tiff")
BY_PILLOW = (".avif", ".heic", ".heif")  # it applies their EXIF orientation, OpenCV doesn't
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two: BigTIFF


def read(path: str | os.PathLike[str]) -> Image:
    """Read an image file: grey becomes colour, transparency is dropped, 16 bits become 8.

    Its EXIF orientation is applied, except in a TIFF of several channels. Of a TIFF of several
    pages the first is read. AVIF and HEIC need Pillow.

    Raises:
        OSError: When the file can't be read.
        ValueError: When it is no whole image, or its values are floating-point numbers.
    """
    # Reading in Python gives an error that names the reason, and takes any file name on Windows.
    data = Path(path).read_bytes()
    suffix = Path(path).suffix.lower()
    if not data:
        raise ValueError(f"{path}: empty, damaged, or no image that OpenCV reads")
    image = None
    if suffix in TIFF or data.startswith(TIFF_MAGIC):
        image = _tiff(data, str(path), several=suffix in TIFF)
    if suffix in BY_PILLOW:
        image = _by_pillow(path)
    if image is None:
        image = _decode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path}: empty, damaged, or no image that OpenCV reads")
    return as_bgr(image, str(path))


def _decode(data: bytes, flags: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # a decoder that refuses a damaged file
        return None


def _tiff(data: bytes, name: str, several: bool) -> NDArray[Any] | None:
    """The first page of a TIFF, if it has several channels and these are asked for."""
    try:
        done, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if not done:
        return None
    if pages[0].dtype.kind == "f" or pages[0].dtype.itemsize > 2:
        _check_type(pages[0], name)  # read as 8 bits, they may be cut off
    return pages[0][..., :3] if several and pages[0].ndim == 3 else None


def _by_pillow(path: str | os.PathLike[str]) -> NDArray[Any] | None:
    try:
        from PIL import Image as Pillow
        from PIL import ImageOps
    except ModuleNotFoundError:
        raise ValueError(
            f"{path}: files of this format are read by Pillow, which is not installed: "
            "pip install 'pillow>=11.3'"
        ) from None
    if Path(path).suffix.lower() != ".avif":
        try:
            from pi_heif import register_heif_opener
        except ModuleNotFoundError:
            raise ValueError(
                f"{path}: Pillow reads it with pi-heif, which is not installed: pip install pi-heif"
            ) from None
        register_heif_opener()
    try:
        with ImageOps.exif_transpose(Pillow.open(path)) as upright:
            return cv2.cvtColor(np.asarray(upright.convert("RGB")), cv2.COLOR_RGB2BGR)
    except Exception:  # damaged files fail in many ways; OpenCV may know more
        return None


def as_bgr(image: object, name: str) -> Image:
    """Bring an array to 8-bit BGR.

    Args:
        image: (H, W), or (H, W, C): C = 1 is grey, 2 grey and alpha, 3 BGR, 4 BGR and alpha; of
            more channels the first three count. uint8, or uint16, whose high byte counts.
        name: What to call it in an error.

    Returns:
        (H, W, 3), uint8; the array itself where it is so already.

    Raises:
        ValueError: When it is no such array, or has no pixel.
    """
    if not isinstance(image, np.ndarray):
        kind = "None, as cv2.imread gives" if image is None else type(image).__name__
        raise ValueError(f"{name}: expected a path or an OpenCV BGR array, got {kind}")
    if image.size == 0:
        raise ValueError(f"{name}: no pixels in an image of shape {image.shape}")
    if image.ndim not in (2, 3):
        raise ValueError(f"{name}: shape {image.shape}; give one image of shape (height, width, 3)")
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    _check_type(image, name)
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 3:
        return image
    if channels < 3:
        grey = image if image.ndim == 2 else np.ascontiguousarray(image[..., 0])
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.ascontiguousarray(image[..., :3])


def _check_type(image: NDArray[Any], name: str) -> None:
    if image.dtype != np.uint8:
        raise ValueError(f"{name}: values of type {image.dtype}; give uint8, 0 to 255")
