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


def read(path: str | os.PathLike[str]) -> Image:
    """Read an image file: grey becomes colour, transparency is dropped, 16 bits become 8.

    Its EXIF orientation is applied, except in a TIFF of several channels. Of a TIFF of several
    pages the first is read. AVIF and HEIC need Pillow.

    Raises:
        OSError: When the file can't be read.
        ValueError: When it is no whole image, or its values are floating-point numbers.
    """
    # Reading in Python gives an error that names the reason, and takes any file name on Windows.
    data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    suffix = Path(path).suffix.lower()
    image = None
    try:
        if suffix in TIFF:
            image = _first_page(data)
        elif suffix in BY_PILLOW:
            image = _by_pillow(path)
        if image is None:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:  # a decoder that refuses a damaged or empty file
        pass
    if image is None:
        raise ValueError(f"{path}: empty, damaged, or no image that OpenCV reads")
    return as_bgr(image, str(path))


def _first_page(data: Image) -> NDArray[Any] | None:
    """The first page of a TIFF if it has several channels, or values that `as_bgr` refuses."""
    _, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED)
    wanted = pages and (pages[0].ndim == 3 or pages[0].dtype not in (np.uint8, np.uint16))
    return pages[0] if wanted else None


def _by_pillow(path: str | os.PathLike[str]) -> NDArray[Any] | None:
    try:
        from PIL import Image as Pillow
        from PIL import ImageOps

        if Path(path).suffix.lower() != ".avif":
            from pi_heif import register_heif_opener

            register_heif_opener()
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{path}: reading it needs {error.name}, which is not installed: "
            "pip install 'pillow>=11.3' pi-heif"
        ) from None
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
        (H, W, 3), uint8, contiguous; no copy where it is so already.

    Raises:
        ValueError: When it is no such array, or has no pixel.
    """
    if not isinstance(image, np.ndarray):
        kind = "None, as cv2.imread gives" if image is None else type(image).__name__
        raise ValueError(f"{name}: expected a path or an OpenCV BGR array, got {kind}")
    if image.ndim not in (2, 3) or not image.size or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{name}: expected one image of uint8, shape (height, width, 3), got {image.dtype} of "
            f"shape {image.shape}"
        )
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    channels = image.reshape(*image.shape[:2], -1)
    if channels.shape[2] < 3:
        channels = np.repeat(channels[..., :1], 3, 2)
    return np.ascontiguousarray(channels[..., :3])
