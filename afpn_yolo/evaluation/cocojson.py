"""Data sets in COCO's format: one JSON of images, annotations and categories."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from afpn_yolo.base.values import EvaluationError, shown
from afpn_yolo.evaluation.coco import Floats
from afpn_yolo.evaluation.datasets import DataSet, as_table, check_any, read_sizes
from afpn_yolo.evaluation.letterbox import Size
from afpn_yolo.upstream.data import coco_category_ids

Entry = dict[str, Any]
FIELDS: dict[str, dict[str, type]] = {
    "images": {"id": int, "file_name": str},
    "categories": {"id": int, "name": str},
    "annotations": {"image_id": int, "category_id": int, "bbox": list},
}
KINDS = {int: "an integer", str: "a string", list: "a list"}


def read_coco(path: Path, folder: Path | None, model_names: dict[int, str], model: str) -> DataSet:
    """Read a data set.

    Args:
        path: The JSON, e.g. `annotations/instances_val2017.json`.
        folder: Where the images are; None looks where COCO keeps them.
        model_names: The model's classes. Categories are found by name, or are COCO's own.
        model: What messages call it.

    Raises:
        EvaluationError: When the file is not as it must be, or not of the model's classes.
    """
    content = _load(path)
    categories = _match_categories(content, model_names)
    if categories is None:
        raise EvaluationError(_difference(path, content, model, model_names))
    classes = dict(zip(categories, model_names, strict=True))
    # pycocotools goes by ids, and so must we: among equal scores the order decides.
    entries = sorted(content["images"], key=lambda entry: entry["id"])
    if not entries:
        raise EvaluationError(f"{path} lists no images")
    folder = folder or _find_folder(path, entries)
    files = {folder / entry["file_name"]: entry for entry in entries}
    sizes, damaged = read_sizes(files)
    for file in [file for file in sizes if _differs(files[file], sizes[file])]:
        height, width = sizes.pop(file)
        damaged[file] = f"it is {width} x {height} pixels, {path.name} says otherwise"
    check_any(str(path), sizes, damaged)
    tables = _tables(path, content["annotations"], {e["id"] for e in entries}, classes)
    ids = [files[file]["id"] for file in sizes]
    return DataSet(
        source=str(path),
        images=[*sizes],
        sizes=[*sizes.values()],
        truth=as_table([_numbered(place, tables[i]) for place, i in enumerate(ids) if i in tables]),
        names=model_names,
        ids=ids,
        categories=categories,
        damaged=damaged,
    )


def _load(path: Path) -> dict[str, list[Entry]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{path} is no JSON: {error}") from None
    for key, needed in FIELDS.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise EvaluationError(f"{path} has no list {key!r}: not COCO's instances format")
        for place, entry in enumerate(entries):
            fault = _fault(entry, needed)
            if fault:
                raise EvaluationError(f"{path}: entry {place} of {key!r} {fault}")
    return content


def _fault(entry: object, needed: dict[str, type]) -> str | None:
    """What is wrong with an entry."""
    if not isinstance(entry, dict):
        return f"must be an object, got {shown(entry)}"
    for field, kind in needed.items():
        if field not in entry:
            return f"has no {field!r}"
        if type(entry[field]) is not kind:
            return f"has the {field} {shown(entry[field])}, expected {KINDS[kind]}"
    box = entry.get("bbox")
    if box is not None and not (len(box) == 4 and all(map(_is_finite, box)) and min(box[2:]) >= 0):
        return f"has the bbox {shown(box)}, expected left, top, width >= 0, height >= 0"
    if not _is_finite(entry.get("area", 0)) or entry.get("iscrowd", 0) not in (0, 1):
        return "has an area that is no number, or an iscrowd that is neither 0 nor 1"
    return None


def _is_finite(number: object) -> bool:
    return isinstance(number, (int, float)) and math.isfinite(number)


def _match_categories(
    content: dict[str, list[Entry]], model_names: dict[int, str]
) -> list[int] | None:
    """COCO's category id of each of the model's classes; None where the two don't fit."""
    used = {annotation["category_id"] for annotation in content["annotations"]}
    known = {*model_names.values()}
    # Some tools put a root category first that no object has.
    kept = [c for c in content["categories"] if c["id"] in used or c["name"] in known]
    names = {category["id"]: category["name"] for category in kept}
    by_name = {name: number for number, name in names.items()}
    if len(names) == len(by_name) == len(known) == len(model_names) and {*by_name} == known:
        return [by_name[name] for name in model_names.values()]
    own = coco_category_ids()
    same = {category["id"] for category in content["categories"]} == {*own}
    return own if same and len(model_names) == len(own) else None


def _difference(
    path: Path, content: dict[str, list[Entry]], model: str, model_names: dict[int, str]
) -> str:
    names = [category["name"] for category in content["categories"]]
    ours, theirs = sorted({*names} - {*model_names.values()}), {*model_names.values()} - {*names}
    parts = [f"{path} has {len(names)} classes, {model} has {len(model_names)}"]
    parts += [f"only the data have {', '.join(map(repr, ours[:5]))}"] * bool(ours)
    parts += [f"only the model has {', '.join(map(repr, sorted(theirs)[:5]))}"] * bool(theirs)
    return "; ".join([*parts, "the names must be the same"])


def _find_folder(path: Path, entries: list[Entry]) -> Path:
    """Look for the images in the folders that COCO's own layout and exports use."""
    split = path.stem.removeprefix("instances_")
    root = path.parent.parent
    places = [root / "images" / split, root / split, root / "images", root]
    places += [path.parent / split, path.parent / "images", path.parent]
    for folder in places:
        if any((folder / entry["file_name"]).is_file() for entry in entries[:100]):
            return folder
    raise EvaluationError(
        f"{path}: its images, e.g. {entries[0]['file_name']}, are not in {places[0]}, {places[1]} "
        "or beside it; name their folder with --images"
    )


def _differs(entry: Entry, size: Size) -> bool:
    """Whether the boxes are for an image of another size, e.g. of one that was not yet rotated."""
    return (entry.get("height", size[0]), entry.get("width", size[1])) != size


def _tables(
    path: Path, annotations: list[Entry], images: set[int], classes: dict[int, int]
) -> dict[int, Floats]:
    """The ground truth of every image id, its number left 0."""
    rows: defaultdict[int, list[list[float]]] = defaultdict(list)
    for annotation in annotations:
        if annotation["image_id"] not in images:
            raise EvaluationError(
                f"{path}: an annotation is for image {annotation['image_id']}, which it lacks"
            )
        left, top, width, height = annotation["bbox"]
        area, crowd = annotation.get("area", width * height), annotation.get("iscrowd", 0)
        number = classes.get(annotation["category_id"])
        if number is None:
            raise EvaluationError(
                f"{path}: an annotation has category {annotation['category_id']}, which it lacks"
            )
        rows[annotation["image_id"]].append([0, number, left, top, width, height, area, crowd])
    return {image: np.array(table, float) for image, table in rows.items()}


def _numbered(place: int, table: Floats) -> Floats:
    table[:, 0] = place
    return table
