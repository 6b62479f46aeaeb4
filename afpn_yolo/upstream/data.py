"""Data sets, as Ultralytics finds and lays them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultralytics.data.converter import coco80_to_coco91_class
from ultralytics.data.utils import check_det_dataset, img2label_paths
from ultralytics.utils import YAML

from afpn_yolo.base.values import EvaluationError, check_size
from afpn_yolo.upstream.tell import one_line


def open_data(data: str) -> dict[str, Any]:
    """Find a data YAML as `yolo` finds it, download what it says, and give its content.

    Paths are absolute then, and `names` a dictionary.
    """
    try:
        if Path(data).suffix in (".yaml", ".yml") and Path(data).is_file():
            check_size(data, YAML.load(data))  # before somebody spells it out
        return check_det_dataset(data)
    except Exception as error:  # it runs what the YAML says
        reason = one_line(error).removeprefix(f"{data}: ")
        raise EvaluationError(f"{data}: {reason}") from error


def label_path(image: Path) -> Path:
    """Where the labels of an image are."""
    return Path(img2label_paths([str(image)])[0])


def coco_category_ids() -> list[int]:
    """COCO's own category id, 1 to 90, of each of its 80 classes."""
    return list(coco80_to_coco91_class())
