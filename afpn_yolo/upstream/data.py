"""Data sets and images, found and read as Ultralytics does it. Nothing is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from multiprocessing.pool import ThreadPool
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from ultralytics.data.base import BaseDataset
from ultralytics.data.converter import coco80_to_coco91_class
from ultralytics.data.utils import (
    check_det_dataset,
    exif_size,
    img2label_paths,
    verify_image_label,
)
from ultralytics.utils import NUM_THREADS, YAML, patches

from afpn_yolo.base.checks import check_size
from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.upstream.log import one_line, quiet

Size = tuple[int, int]  # height, width
MIN_SIDE = 10  # pixels; Ultralytics leaves smaller images out
HEIC = (".heic", ".heif")


def open_data(data: str) -> dict[str, Any]:
    """The content of a data YAML, which is found, and its data downloaded, as `yolo` does it.

    Its paths are absolute, and `names` is a dictionary.
    """
    try:
        if Path(data).suffix in (".yaml", ".yml") and Path(data).is_file():
            check_size(data, YAML.load(data))  # before Ultralytics expands it
        return check_det_dataset(data)
    except Exception as error:  # it can be anything: a YAML may run code to download data
        message = one_line(error).split(" Note dataset download directory")[0]
        name = re.escape(data)  # it stands in many places of the messages
        reason = re.sub(f" in '{name}'|^(Dataset )?'?{name}'?:? ", "", message)
        reason = "no such file" if reason == "does not exist" else reason
        raise EvaluationError(f"{data}: {reason}") from error


def images_of(data: str, split: str, content: Mapping[str, Any] | None = None) -> list[Path]:
    """The images of one split of a data YAML, sorted; none of them has been opened.

    `content` is what `open_data` gave, if the YAML has been opened.

    Raises:
        EvaluationError: When there are none.
    """
    content = content or open_data(data)
    source = content.get(split)
    if not source:
        raise EvaluationError(f"{data} has no split {split!r}; add `{split}:` or choose another")
    try:
        with quiet():  # it reports the speed of the disk
            files = BaseDataset.get_img_files(SimpleNamespace(prefix="", fraction=1.0), source)
    except FileNotFoundError as error:
        if isinstance(error.__cause__, AssertionError):
            first = source[0] if isinstance(source, list) else source
            raise EvaluationError(
                f"{data}: split {split!r} is empty, no images in {first}"
            ) from None
        raise EvaluationError(f"{data}: {one_line(error.__cause__ or error)}") from None
    return [Path(image) for image in dict.fromkeys(files)]


def label_path(image: Path) -> Path:
    """The label file of an image."""
    return Path(img2label_paths([str(image)])[0])


def coco_category_ids() -> list[int]:
    """COCO's own category id, 1 to 90, of each of its 80 classes."""
    return list(coco80_to_coco91_class())


def read_sizes(images: Iterable[Path]) -> tuple[dict[Path, Size], dict[Path, str]]:
    """Heights and widths of the images that can be read, and the reasons for the others."""
    images = [*images]
    with ThreadPool(NUM_THREADS) as pool:
        results = dict(zip(images, pool.map(_size_or_reason, images), strict=True))
    sizes = {image: result for image, result in results.items() if not isinstance(result, str)}
    return sizes, {image: result for image, result in results.items() if isinstance(result, str)}


def _size_or_reason(path: Path) -> Size | str:
    """Height and width of an image, upright, from its header; or why it can't be read."""
    try:
        if not path.is_file():
            return "no such file"
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
    except Exception as error:  # Pillow's plug-ins raise whatever they come across
        return one_line(error)
    return height, width


def _open(path: Path) -> Image.Image:
    """Open an image with Pillow.

    Ultralytics replaces `Image.open` by one that installs a HEIC plug-in when it meets a file that
    is no image. That is wanted for HEIC files only.
    """
    plain = getattr(patches, "_image_open", Image.open)
    try:
        image: Image.Image = (Image.open if path.suffix.lower() in HEIC else plain)(path)
    except UnidentifiedImageError:
        if path.stat().st_size == 0:
            raise ValueError("the file is empty") from None
        raise UnidentifiedImageError("it is no image, whatever its name says") from None
    return image


def read_labels(
    sizes: Mapping[Path, Size], content: Mapping[str, Any]
) -> tuple[dict[Path, NDArray[np.float64]], dict[Path, str]]:
    """Read the labels of images as Ultralytics does.

    Args:
        sizes: The images with their heights and widths.
        content: Of the data YAML.

    Returns:
        For each image (N, 5): class; x and y of the centre, width, height as fractions of the
        image. And the images that Ultralytics leaves out, with its reason.
    """
    tables: dict[Path, NDArray[np.float64]] = {}
    faulty: dict[Path, str] = {}
    points, numbers = content.get("kpt_shape", (0, 0))
    with TemporaryDirectory(prefix="afpn-labels-") as folder, ThreadPool(NUM_THREADS) as pool:
        # It checks the image, too, and rewrites one that it thinks damaged. It gets a blank one:
        # the real ones have been measured.
        blank = str(Path(folder, "blank.png"))
        Image.new("L", (MIN_SIDE, MIN_SIDE)).save(blank)
        rest = (len(content["names"]), points, numbers, False)
        jobs = [(blank, str(label_path(image)), "", False, *rest) for image in sizes]
        for image, result in zip(sizes, pool.imap(verify_image_label, jobs), strict=True):
            if result[0] is None:
                reason = one_line(ValueError(result[-1])).removeprefix(f"{blank}: ")
                faulty[image] = f"{label_path(image)}: {reason}"
            elif min(sizes[image]) < MIN_SIDE:
                height, width = sizes[image]
                faulty[image] = (
                    f"it is {width} x {height} pixels, Ultralytics takes {MIN_SIDE} a side"
                )
            else:
                tables[image] = result[1].astype(float)
    return tables, faulty
