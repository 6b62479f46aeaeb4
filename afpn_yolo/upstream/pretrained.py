"""Ultralytics' own checkpoints, which it downloads where they are not here yet."""

from __future__ import annotations

from pathlib import Path

from ultralytics.utils.downloads import attempt_download_asset

from afpn_yolo.upstream.tell import one_line


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
