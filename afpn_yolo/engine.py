"""What this package calls of Ultralytics. What it changes there is in `plugin`."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.data.augment import LetterBox
from ultralytics.data.utils import IMG_FORMATS
from ultralytics.engine.model import Model
from ultralytics.nn.tasks import guess_model_task
from ultralytics.utils import TQDM
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.patches import imread
from ultralytics.utils.torch_utils import select_device

Item = TypeVar("Item")

IMAGE_SUFFIXES = frozenset(IMG_FORMATS)
CONFIDENCE, NMS_IOU = 0.25, 0.7  # those of `yolo predict`
DEFAULT_SIZE = 640


def one_line(error: BaseException) -> str:
    """Put a message, which may have several lines and pictures, into one plain line."""
    plain = str(error).encode("ascii", "ignore").decode()
    return " ".join(plain.replace("ERROR", "").split()) or type(error).__name__


def load_model(model: str | Path | nn.Module) -> nn.Module:
    """Open a checkpoint, unfused, or take the network out of a `YOLO`; a bare network stays.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When the file is no checkpoint that Ultralytics opens.
    """
    if isinstance(model, Model):
        model = model.model if isinstance(model.model, nn.Module) else str(model.model)
    if isinstance(model, nn.Module):
        return model
    path = Path(model)
    if path.suffix != ".pt":
        raise ValueError(
            f"{path}: a PyTorch checkpoint (.pt) is needed; of an exported model, the one that it "
            "was exported from"
        )
    if not path.is_file():  # Ultralytics would try to download it
        raise FileNotFoundError(f"{path}: no such file")
    try:
        network: nn.Module = YOLO(path).model
    except Exception as error:  # unpickling runs whatever is in the file
        raise ValueError(f"{path}: Ultralytics can't open it: {one_line(error)}") from error
    return network


def move(model: nn.Module, device: str | None) -> nn.Module:
    """Bring a model to a device, as `yolo` takes it; None lets Ultralytics choose.

    Raises:
        ValueError: When there is no such device.
    """
    try:
        return model.to(select_device(device, verbose=False))
    except Exception as error:  # torch and Ultralytics each have their own
        raise ValueError(f"device {device}: {one_line(error)}") from error


def progress(items: Collection[Item], what: str) -> Iterable[Item]:
    """Go through items behind a progress bar; it is left out where there is but one."""
    return TQDM(items, desc=what, file=sys.stderr, disable=len(items) < 2)


def trained_size(model: nn.Module) -> int:
    """The `imgsz` that a model was trained at; 640 when it doesn't say."""
    kept = getattr(model, "args", None)
    size = kept.get("imgsz") if isinstance(kept, dict) else getattr(kept, "imgsz", None)
    return size if isinstance(size, int) else DEFAULT_SIZE


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
        with Image.open(path) as file:
            file.load()
    except (UnidentifiedImageError, ImportError):
        pass  # a format that Pillow doesn't know
    except (OSError, SyntaxError) as error:
        raise OSError(f"{path}: {one_line(error)}") from error


def letterbox(
    image: NDArray[np.uint8], imgsz: int, stride: int
) -> tuple[Tensor, tuple[int, int, int, int]]:
    """Resize and pad an image (H, W, 3), blue first, as `yolo predict` does.

    Args:
        image: The original.
        imgsz: Size of the longer side; a multiple of `stride`.
        stride: The sides of the result are multiples of it.

    Returns:
        The model's input (1, 3, H, W), red first, from 0 to 1; and where the image lies in it:
        left, top, right, bottom in pixels.
    """
    place = LetterBox(imgsz, auto=True, stride=stride)
    # The padding is grey, so a white image shows where it ends, however a release rounds.
    rows, columns = (place(image=np.full_like(image, 255))[..., 0] == 255).nonzero()
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    pixels = np.ascontiguousarray(place(image=image)[..., ::-1].transpose(2, 0, 1))
    left, top, right, bottom = (int(edge) for edge in box)
    return torch.from_numpy(pixels)[None].float() / 255, (left, top, right, bottom)


def detections(model: nn.Module, output: object) -> NDArray[np.float32]:
    """Boxes (N, 6) in an output of a detector: left, top, right, bottom, score, class.

    In pixels of the model's input. None for models of other tasks.
    """
    if guess_model_task(model) != "detect":
        return np.zeros((0, 6), np.float32)
    end2end = bool(getattr(model, "end2end", False))
    found = non_max_suppression(output, CONFIDENCE, NMS_IOU, end2end=end2end)[0]
    boxes: NDArray[np.float32] = found[:, :6].float().cpu().numpy()
    return boxes
