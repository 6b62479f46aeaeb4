"""Data sets, as Ultralytics finds, lays out and reads them. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from multiprocessing.pool import ThreadPool
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from ultralytics.data.base import BaseDataset
from ultralytics.data.converter import coco80_to_coco91_class
from ultralytics.data.utils import check_det_dataset, img2label_paths, verify_image_label
from ultralytics.utils import NUM_THREADS, YAML

from afpn_yolo.base.checks import check_size
from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.upstream.images import Size, measure
from afpn_yolo.upstream.log import one_line, quiet

LEAST = 10  # pixels a side; Ultralytics leaves out what is smaller


def open_data(data: str) -> dict[str, Any]:
    """Find a data YAML as `yolo` finds it, download what it says, and give its content.

    Paths are absolute then, and `names` a dictionary.
    """
    try:
        if Path(data).suffix in (".yaml", ".yml") and Path(data).is_file():
            check_size(data, YAML.load(data))  # before somebody spells it out
        return check_det_dataset(data)
    except Exception as error:  # it runs what the YAML says
        raise EvaluationError(f"{data}: {_reason(data, one_line(error))}") from error


def _reason(data: str, said: str) -> str:
    """What is wrong with a data YAML, without its name, which Ultralytics has in many places."""
    said = said.split(" Note dataset download directory")[0]  # no remedy for a wrong path
    said = said.replace(f" in {data!r}", "").removeprefix(f"{data}: ").removeprefix(f"{data} ")
    said = said.removeprefix("Dataset ").removeprefix(f"'{data}' ")
    return "no such file" if said == "does not exist" else said


def images_of(data: str, split: str) -> list[Path]:
    """The images of one split of a data YAML, sorted; none of them has been opened.

    Raises:
        EvaluationError: When there are none.
    """
    return listed(data, split, open_data(data))


def listed(data: str, split: str, content: Mapping[str, Any]) -> list[Path]:
    """The images of one split of a data YAML that has been opened; see `images_of`."""
    source = content.get(split)
    if not source:
        raise EvaluationError(f"{data} has no split {split!r}; add `{split}:` or choose another")
    try:
        with quiet():  # it says how fast the disk is
            found = BaseDataset.get_img_files(SimpleNamespace(prefix="", fraction=1.0), source)
    except FileNotFoundError as error:
        if isinstance(error.__cause__, AssertionError):
            first = source[0] if isinstance(source, list) else source
            raise EvaluationError(
                f"{data}: split {split!r} is empty, no images in {first}"
            ) from None
        raise EvaluationError(f"{data}: {one_line(error.__cause__ or error)}") from None
    return [Path(image) for image in dict.fromkeys(found)]


def label_path(image: Path) -> Path:
    """Where the labels of an image are."""
    return Path(img2label_paths([str(image)])[0])


def coco_category_ids() -> list[int]:
    """COCO's own category id, 1 to 90, of each of its 80 classes."""
    return list(coco80_to_coco91_class())


def read_sizes(images: Iterable[Path]) -> tuple[dict[Path, Size], dict[Path, str]]:
    """Heights and widths of what can be read, and the reasons for what can't."""
    images = [*images]
    with ThreadPool(NUM_THREADS) as pool:
        results = dict(zip(images, pool.map(_size_or_reason, images), strict=True))
    sizes = {image: result for image, result in results.items() if not isinstance(result, str)}
    return sizes, {image: result for image, result in results.items() if isinstance(result, str)}


def _size_or_reason(image: Path) -> Size | str:
    try:
        return measure(image)
    except Exception as error:  # Pillow's plug-ins raise whatever they come across
        return one_line(error)


def read_labels(
    sizes: Mapping[Path, Size], content: Mapping[str, Any]
) -> tuple[dict[Path, NDArray[np.float64]], dict[Path, str]]:
    """Read the labels of images as Ultralytics does.

    Args:
        sizes: The images with their heights and widths.
        content: Of the data YAML.

    Returns:
        For each image (N, 5): class; x and y of the centre, width, height as fractions of the
        image. And the images that Ultralytics leaves out, with what it says.
    """
    tables: dict[Path, NDArray[np.float64]] = {}
    faulty: dict[Path, str] = {}
    points, numbers = content.get("kpt_shape", (0, 0))
    with TemporaryDirectory(prefix="afpn-labels-") as folder, ThreadPool(NUM_THREADS) as pool:
        # The library looks at the image, too, and rewrites one that it thinks damaged. It gets
        # another one to look at: ours have been measured.
        blank = str(Path(folder, "blank.png"))
        Image.new("L", (LEAST, LEAST)).save(blank)
        rest = (len(content["names"]), points, numbers, False)
        jobs = [(blank, str(label_path(image)), "", False, *rest) for image in sizes]
        for image, result in zip(sizes, pool.imap(verify_image_label, jobs), strict=True):
            if result[0] is None:
                reason = one_line(ValueError(result[-1])).removeprefix(f"{blank}: ")
                faulty[image] = f"{label_path(image)}: {reason}"
            elif min(sizes[image]) < LEAST:
                height, width = sizes[image]
                faulty[image] = f"it is {width} x {height} pixels, Ultralytics takes {LEAST} a side"
            else:
                tables[image] = result[1].astype(float)
    return tables, faulty
