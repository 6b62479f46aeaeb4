"""Image files: how they are found, measured and read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from ultralytics.data.utils import IMG_FORMATS, exif_size
from ultralytics.utils import patches
from ultralytics.utils.patches import imread

from afpn_yolo.upstream.log import one_line

Size = tuple[int, int]  # height, width
IMAGE_SUFFIXES = frozenset(IMG_FORMATS)
HEIC = (".heic", ".heif")


def measure(path: Path) -> Size:
    """Height and width of an image, upright, from its header.

    Raises:
        Exception: Whatever Pillow raises when the file is no image, or a part of one.
    """
    if not path.is_file():
        raise FileNotFoundError("no such file")
    with _open(path) as image:
        image.verify()
        width, height = exif_size(image)
        jpeg = image.format == "JPEG"
    if jpeg:
        with path.open("rb") as file:
            file.seek(-2, 2)
            whole = file.read() == b"\xff\xd9"
        if not whole:  # OpenCV would paint the missing part grey
            with _open(path) as image:
                image.load()
    return height, width


def _open(path: Path) -> Image.Image:
    """Open an image with Pillow as it is.

    Ultralytics replaces `Image.open`: meeting a file that is no image, its own installs a plug-in
    for HEIC. Only a file that is called so is worth that.
    """
    plain = getattr(patches, "_image_open", Image.open)
    try:
        image: Image.Image = (Image.open if path.suffix.lower() in HEIC else plain)(path)
    except UnidentifiedImageError:
        if path.stat().st_size == 0:
            raise ValueError("the file is empty") from None
        raise UnidentifiedImageError("it is no image, whatever its name says") from None
    return image


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode an image, upright, to (H, W, 3), blue first.

    Raises:
        OSError: When the file is missing or cut short.
        ValueError: When it is no image of three channels.
    """
    with path.open("rb"):
        pass  # an error of the system's names the file
    try:
        image = imread(str(path), cv2.IMREAD_COLOR)
    except Exception:  # releases differ in what they raise, and for what they give None
        image = None
    if image is None or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{path}: it can't be decoded as a colour image")
    _check_whole(path)
    return image


def _check_whole(path: Path) -> None:
    """Raise `OSError` when a file is cut short: OpenCV paints the missing part grey."""
    try:
        with _open(path) as file:
            file.load()
    except (UnidentifiedImageError, ImportError):
        pass  # a format that Pillow doesn't know
    except (OSError, SyntaxError) as error:
        raise OSError(f"{path}: {one_line(error)}") from error
