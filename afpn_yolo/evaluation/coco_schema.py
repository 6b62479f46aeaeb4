"""Read a JSON in COCO's format into one form.

Annotation tools differ in how they write ids, numbers and missing values. Whatever has only one
possible meaning is accepted.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from afpn_yolo.base.checks import is_number
from afpn_yolo.base.errors import EvaluationError, short_repr

Entry = dict[str, Any]
Id = int | float | str
WHOLE = re.compile(r"\s*([+-]?(?:0|[1-9]\d*))(?:\.0*)?\s*")


def load(path: Path) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """Read images, annotations and categories.

    Ids are integers where they can be; an annotation has a `row`: left, top, width, height, area,
    crowd.

    Raises:
        EvaluationError: When the file is not as it must be; it names the entry.
    """
    try:
        content = json.loads(path.read_bytes())  # it detects the encoding
    except OSError as error:
        raise EvaluationError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{path} is no JSON: {error}") from None
    lists = []
    for key, read in (("images", _image), ("annotations", _annotation), ("categories", _category)):
        entries = content.get(key) if isinstance(content, dict) else None
        if key == "annotations" and entries is None and path.stem.startswith("image_info"):
            entries = []  # COCO's lists of its test images have none
        if not isinstance(entries, list):
            raise EvaluationError(f"{path} has no list {key!r}: not COCO's instances format")
        lists.append(
            [_entry(f"{path}: entry {i} of {key!r}", e, read) for i, e in enumerate(entries)]
        )
    images, annotations, categories = lists
    if not images:
        raise EvaluationError(f"{path} lists no images")
    return images, annotations, categories


def _entry(where: str, entry: object, read: Any) -> Entry:
    if not isinstance(entry, dict):
        raise EvaluationError(f"{where} must be an object, got {short_repr(entry)}")
    try:
        return {**entry, **read(entry)}
    except ValueError as error:
        raise EvaluationError(f"{where} {error}") from None


def _image(entry: Entry) -> Entry:
    if not isinstance(entry.get("file_name", ""), str):
        raise ValueError(f"has the file_name {short_repr(entry['file_name'])}, expected a string")
    return {"id": _id(entry, "id"), "file_name": _text(entry, "file_name")}


def _category(entry: Entry) -> Entry:
    name = entry.get("name")
    named = entry if is_set(name) else {"name": entry.get("supercategory")}
    return {"id": _id(entry, "id"), "name": _text(named, "name")}


def _annotation(entry: Entry) -> Entry:
    """With `row`: left, top, width, height, area, crowd."""
    ids = {key: _id(entry, key) for key in ("image_id", "category_id")}
    box = entry.get("bbox") or _around(entry.get("segmentation"))
    if box is None:
        raise ValueError("has no 'bbox', and no polygon that would have one")
    numbers = _numbers(box)
    if len(numbers) != 4 or min(numbers[2:]) < 0:
        raise ValueError(
            f"has the bbox {short_repr(box)}, expected left, top, width >= 0, height >= 0"
        )
    left, top, width, height = numbers
    area = as_number(entry["area"]) if is_set(entry.get("area")) else width * height
    crowd = as_number(entry["iscrowd"]) if is_set(entry.get("iscrowd")) else 0
    if area is None or crowd not in (0, 1):
        raise ValueError("has an area that is no number, or an iscrowd that is neither 0 nor 1")
    return {**ids, "row": [left, top, width, height, area, float(crowd)]}


def _numbers(values: object) -> list[float]:
    """A list of numbers; empty where it isn't one."""
    read = [as_number(x) for x in values] if isinstance(values, list) else []
    numbers = [x for x in read if x is not None]
    return numbers if len(numbers) == len(read) else []


def _around(outline: object) -> list[float] | None:
    """The box around polygons, x, y, x, y, ... each; None for other outlines."""
    polygons = outline if isinstance(outline, list) else []
    if polygons and not isinstance(polygons[0], list):  # a single one, not in a list
        polygons = [polygons]
    corners: list[float] = []
    for polygon in polygons:
        numbers = _numbers(polygon)
        if len(numbers) < 6 or len(numbers) % 2:
            return None
        corners += numbers
    if not corners:
        return None
    left, top = min(corners[::2]), min(corners[1::2])
    return [left, top, max(corners[::2]) - left, max(corners[1::2]) - top]


def _id(entry: Entry, field: str) -> Id:
    """An id; "7" and 7.0 are 7, since some tools mix these forms."""
    if not is_set(entry.get(field)):
        raise ValueError(f"has no {field!r}")
    value = entry[field]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"has the {field} {short_repr(value)}, expected a number or a string")
    if isinstance(value, str):
        whole = WHOLE.fullmatch(value)
        return int(whole[1]) if whole else value
    if not math.isfinite(value):
        raise ValueError(f"has the {field} {value}, expected a number or a string")
    return int(value) if value == int(value) else value


def _text(entry: Entry, field: str) -> str:
    if not is_set(entry.get(field)):
        raise ValueError(f"has no {field!r}")
    value = entry[field]
    if is_number(value):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"has the {field} {short_repr(value)}, expected a string")
    return value


def as_number(value: object) -> float | None:
    """A finite number, written as one or as a string; None for anything else."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def is_set(value: object) -> bool:
    """Whether a field has a value; some tools write an empty string for none."""
    return value is not None and value != ""
