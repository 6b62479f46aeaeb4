"""What this package calls of Ultralytics, with `detector`: models built and saved, data found.

What it changes there is in `plugin`. No file but these three knows Ultralytics' internals.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import ultralytics
from numpy.typing import NDArray
from PIL import Image
from ultralytics.data.converter import coco80_to_coco91_class
from ultralytics.data.utils import IMG_FORMATS, check_det_dataset, exif_size, img2label_paths
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER, YAML
from ultralytics.utils.patches import imread

from afpn_yolo.checks import EvaluationError
from afpn_yolo.files import shipped, written_whole
from afpn_yolo.letterbox import Size

IMAGE_SUFFIXES = frozenset(IMG_FORMATS)


def build_model(name: str, scale: str, nc: int) -> torch.nn.Module:
    """Build a shipped model YAML, whatever lies in the user's folder under that name.

    Args:
        name: File name without the scale letter: `yolov5-afpn.yaml`.
        scale: Scale letter.
        nc: Number of classes.
    """
    content = YAML.load(shipped("models", name))
    content |= {"scale": scale, "yaml_file": re.sub(r"(\d)-", rf"\1{scale}-", name, count=1)}
    return DetectionModel(content, nc=nc, verbose=False)


def save_checkpoint(model: torch.nn.Module, path: Path) -> None:
    """Write a model so that `YOLO(path)` opens it, in float32 (Ultralytics' own `save` halves it).

    The file appears whole or not at all.
    """
    checkpoint = {
        "epoch": -1,  # not a run that could be resumed
        "model": model,
        "ema": None,
        "train_args": {"task": "detect"},
        "date": datetime.now(UTC).isoformat(),
        "version": ultralytics.__version__,
    }
    with written_whole(path) as part:
        torch.save(checkpoint, part)


def warn(message: str) -> None:
    """Tell the user, in Ultralytics' way."""
    LOGGER.warning(message)


def one_line(error: BaseException) -> str:
    """Put a message, which may have several lines and pictures, into one plain line."""
    plain = str(error).encode("ascii", "ignore").decode()
    return " ".join(plain.replace("ERROR", "").split()) or type(error).__name__


def open_data(data: str) -> dict[str, Any]:
    """Find a data YAML as `yolo` finds it, download what it says, and give its content.

    Paths are absolute then, and `names` a dictionary.
    """
    try:
        return check_det_dataset(data)
    except Exception as error:  # it runs what the YAML says
        raise EvaluationError(f"{data}: {one_line(error)}") from error


def label_path(image: Path) -> Path:
    """Where the labels of an image are."""
    return Path(img2label_paths([str(image)])[0])


def coco_category_ids() -> list[int]:
    """COCO's own category id, 1 to 90, of each of its 80 classes."""
    return list(coco80_to_coco91_class())


def measure(path: Path) -> Size:
    """Height and width of an image, upright, from its header.

    Raises:
        Exception: Whatever Pillow raises when the file is no image, or a part of one.
    """
    if not path.is_file():
        raise FileNotFoundError("no such file")
    with Image.open(path) as image:
        image.verify()
        width, height = exif_size(image)
        jpeg = image.format == "JPEG"
    if jpeg:
        with path.open("rb") as file:
            file.seek(-2, 2)
            whole = file.read() == b"\xff\xd9"
        if not whole:  # OpenCV would paint the missing part grey
            with Image.open(path) as image:
                image.load()
    return height, width


def read_image(path: Path, flags: int) -> NDArray[np.uint8]:
    """Decode an image, upright, to (height, width, channels), blue first.

    Raises:
        ValueError: When that is impossible.
    """
    image = imread(str(path), flags)
    if image is None:
        raise ValueError("it can't be decoded")
    return image
