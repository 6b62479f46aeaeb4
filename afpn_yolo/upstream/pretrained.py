"""Ultralytics' own checkpoints, which it downloads where they are not here yet."""

from __future__ import annotations

from pathlib import Path

from ultralytics.utils import SETTINGS
from ultralytics.utils.checks import check_yolov5u_filename
from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

from afpn_yolo.upstream.log import one_line


def coco_checkpoint(scale: str) -> Path:
    """The YOLOv5u checkpoint of a scale, trained on COCO.

    Raises:
        ValueError: When it is neither here nor can be downloaded.
    """
    name = f"yolov5{scale}u.pt"
    try:
        path = Path(attempt_download_asset(name))
        reason = "it is not here"
    except Exception as error:  # networks fail in many ways
        path, reason = Path(name), one_line(error)
    if not path.is_file():
        raise ValueError(f"{name} can't be downloaded: {reason}")
    return path


def check_found(checkpoint: str) -> None:
    """Raise unless a `.pt` is here, or one of Ultralytics' own to be downloaded.

    Of any other name Ultralytics asks the network for a list of its own, with long warnings where
    there is none. What is no `.pt`, and what comes from a URL, is left to it.

    Raises:
        FileNotFoundError: It names the file.
    """
    path = Path(checkpoint)
    if path.suffix != ".pt" or "://" in checkpoint or path.exists():
        return
    if path.name != checkpoint:
        raise FileNotFoundError(f"{checkpoint}: no such file")
    name = check_yolov5u_filename(checkpoint, verbose=False)
    if name not in GITHUB_ASSETS_NAMES and not Path(SETTINGS["weights_dir"], name).exists():
        raise FileNotFoundError(
            f"{checkpoint}: no such file, and no checkpoint that Ultralytics offers for download"
        )
