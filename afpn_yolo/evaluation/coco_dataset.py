"""Data sets in COCO's format: one JSON of images, annotations and categories.

Annotation tools differ in how they write ids, numbers and missing values. Whatever has only one
possible meaning is accepted.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from afpn_yolo.base.errors import EvaluationError, short_repr
from afpn_yolo.evaluation.datasets import DataSet, Id
from afpn_yolo.upstream.data import coco_category_ids, read_sizes

Entry = dict[str, Any]
WHOLE = re.compile(r"\s*([+-]?(?:0|[1-9]\d*))(?:\.0*)?\s*")


def read_coco(
    path: Path,
    folder: Path | None,
    model_names: Mapping[int, str],
    model: str,
    only: Collection[Path] = (),
) -> DataSet:
    """Read a data set.

    Args:
        path: The JSON, e.g. `annotations/instances_val2017.json`.
        folder: Where the images are; None looks where COCO keeps them.
        model_names: The model's classes. Categories are found by name, or are COCO's own.
        model: What messages call the model.
        only: Which of the images to take; all, if empty.

    Raises:
        EvaluationError: When the file is not as it must be, or not of the model's classes.
    """
    images, annotations, categories = _load(path)
    files = _files(path, folder, images)
    if absent := {*only} - files.keys():
        raise EvaluationError(f"{path} doesn't know {min(absent)}")
    names = _names(path, categories)
    rows: dict[Id, list[list[float]]] = {entry["id"]: [] for entry in files.values()}
    for annotation in annotations:
        for key, known in (("image_id", rows), ("category_id", names)):
            if annotation[key] not in known:
                raise EvaluationError(
                    f"{path}: an annotation has the unknown {key} {annotation[key]!r}"
                )
    used = {annotation["category_id"] for annotation in annotations}
    ids = _match_categories(names, used, [*model_names.values()])
    if ids is None:
        raise EvaluationError(_difference(path, names, model, [*model_names.values()]))
    classes = dict(zip(ids, model_names, strict=True))
    for annotation in annotations:
        row = [classes[annotation["category_id"]], *annotation["row"]]
        rows[annotation["image_id"]].append(row)
    sizes, damaged = read_sizes([file for file in files if not only or file in only])
    for file, size in [*sizes.items()]:
        # Tools that don't know the size write 0 or a word.
        if any(a > 0 and a != b for a, b in zip(files[file]["size"], size, strict=True)):
            height, width = sizes.pop(file)  # the file may have been rotated since
            damaged[file] = f"it is {width} x {height} pixels, {path.name} says otherwise"
    measured = not annotations or any(annotation["measured"] for annotation in annotations)
    return DataSet.of(
        path,
        sizes,
        {file: np.array(rows[files[file]["id"]], float).reshape(-1, 7) for file in sizes},
        damaged,
        names=dict(model_names),
        ids=[files[file]["id"] for file in sizes],
        categories=ids,
        area="COCO's annotations" if measured else "boxes of the annotations",
    )


def read_files(path: Path, folder: Path | None) -> dict[Path, Entry]:
    """The entry of each image, by its path and in the order of their ids.

    Raises:
        EvaluationError: As `read_coco`.
    """
    images, *_ = _load(path)
    return _files(path, folder, images)


def read_names(path: Path) -> list[str]:
    """Names of the categories that have objects, in the order of their ids.

    Raises:
        EvaluationError: When the file is not as it must be.
    """
    _, annotations, categories = _load(path)
    used = {annotation["category_id"] for annotation in annotations}
    names = _names(path, categories)
    return [names[number] for number in sorted(used & {*names}, key=_order)]


def _load(path: Path) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """Read images, annotations and categories; of each entry what is needed, in one form."""
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
    if not lists[0]:
        raise EvaluationError(f"{path} lists no images")
    return lists[0], lists[1], lists[2]


def _entry(where: str, entry: object, read: Callable[[Entry], Entry]) -> Entry:
    if not isinstance(entry, dict):
        raise EvaluationError(f"{where} must be an object, got {short_repr(entry)}")
    # Some tools write an empty string for no value.
    entry = {key: value for key, value in entry.items() if value is not None and value != ""}
    try:
        return read(entry)
    except ValueError as error:
        raise EvaluationError(f"{where} {error}") from None


def _image(entry: Entry) -> Entry:
    size = [_number(entry.get(side)) for side in ("height", "width")]
    return {"id": _id(entry, "id"), "file_name": _value(entry, "file_name", str), "size": size}


def _category(entry: Entry) -> Entry:
    return {"id": _id(entry, "id"), "name": str(_value(entry, "name", (int, float, str)))}


def _annotation(entry: Entry) -> Entry:
    """`row`: left, top, width, height, area, crowd. `measured`: whether the area was there."""
    ids = {key: _id(entry, key) for key in ("image_id", "category_id")}
    box = entry.get("bbox") or _around(entry.get("segmentation"))
    if not box:
        raise ValueError("has no 'bbox', and no polygon that would have one")
    numbers = _numbers(box)
    if len(numbers) != 4 or min(numbers[2:]) < 0:
        raise ValueError(
            f"has the bbox {short_repr(box)}, expected left, top, width >= 0, height >= 0"
        )
    area = _number(entry.get("area", numbers[2] * numbers[3]))
    crowd = _number(entry.get("iscrowd", 0))
    if not math.isfinite(area) or crowd not in (0, 1):
        raise ValueError("has an area that is no number, or an iscrowd that is neither 0 nor 1")
    return {**ids, "row": [*numbers, area, crowd], "measured": "area" in entry}


def _around(outline: object) -> list[float]:
    """The box around polygons, x, y, x, y, ... each; empty for other outlines."""
    polygons = outline if isinstance(outline, list) else []
    if not any(isinstance(polygon, list) for polygon in polygons):
        polygons = [polygons]  # a single one, not in a list
    corners: list[float] = []
    for polygon in polygons:
        numbers = _numbers(polygon)
        if len(numbers) < 6 or len(numbers) % 2:
            return []
        corners += numbers
    left, top = min(corners[::2]), min(corners[1::2])
    return [left, top, max(corners[::2]) - left, max(corners[1::2]) - top]


def _numbers(values: object) -> list[float]:
    """A list of finite numbers; empty where it isn't one."""
    numbers = [_number(value) for value in values] if isinstance(values, list) else []
    return numbers if all(map(math.isfinite, numbers)) else []


def _number(value: Any) -> float:
    """A number, written as one or as a string; NaN for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _id(entry: Entry, field: str) -> Id:
    """An id; "7" and 7.0 are 7, since some tools mix these forms."""
    value: Id = _value(entry, field, (int, float, str))
    if isinstance(value, str) and (whole := WHOLE.fullmatch(value)):
        return int(whole[1])
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _value(entry: Entry, field: str, kinds: type | tuple[type, ...]) -> Any:
    if field not in entry:
        raise ValueError(f"has no {field!r}")
    value = entry[field]
    if isinstance(value, bool) or not isinstance(value, kinds):
        expected = "a string" if kinds is str else "a number or a string"
        raise ValueError(f"has the {field} {short_repr(value)}, expected {expected}")
    return value


def _order(number: Id) -> tuple[bool, Any]:
    """Sorts numbers, then words."""
    return isinstance(number, str), number


def _files(path: Path, folder: Path | None, images: list[Entry]) -> dict[Path, Entry]:
    """The entries by their files, sorted by id as pycocotools does: it decides on equal scores."""
    folder = folder or _find_folder(path, images)
    bare_names = Counter(place.name for place in {_place(entry) for entry in images})
    files: dict[Path, Entry] = {}
    by_id: dict[Id, Path] = {}
    for entry in sorted(images, key=lambda entry: _order(entry["id"])):
        file = folder / _place(entry)
        # The folders before the name may be those of the machine where it was annotated.
        if not file.is_file() and bare_names[file.name] == 1 and (folder / file.name).is_file():
            file = folder / file.name
        first = files.setdefault(file, entry)
        if first["id"] != entry["id"] or by_id.setdefault(entry["id"], file) != file:
            raise EvaluationError(
                f"{path}: {entry['file_name']} with image id {entry['id']!r} shares one of the two "
                "with another entry; every file needs an id of its own"
            )
    return files


def _place(entry: Entry) -> Path:
    """The file name as a path; some tools write backslashes."""
    return Path(entry["file_name"].replace("\\", "/"))


def _find_folder(path: Path, images: list[Entry]) -> Path:
    """Look for the images in the folders that COCO's own layout and exports use."""
    split = path.stem.removeprefix("instances_")
    root = path.parent.parent
    folders = [root / "images" / split, root / split, root / "images", root]
    folders += [path.parent / split, path.parent / "images", path.parent]
    places = [_place(entry) for entry in images[:100]]
    for names in (places, [place.name for place in places]):
        for folder in folders:
            if any((folder / name).is_file() for name in names):
                return folder
    raise EvaluationError(
        f"{path}: its images, e.g. {images[0]['file_name']}, are not in {folders[0]}, {folders[1]} "
        "or beside it; name their folder with --images"
    )


def _names(path: Path, categories: list[Entry]) -> dict[Id, str]:
    """Every category's name by its id."""
    names: dict[Id, str] = {}
    for entry in categories:
        if names.setdefault(entry["id"], entry["name"]) != entry["name"]:
            both = f"{names[entry['id']]!r} and {entry['name']!r}"
            raise EvaluationError(f"{path}: category {entry['id']!r} has two names, {both}")
    return names


def _match_categories(
    names: Mapping[Id, str], used: set[Id], classes: list[str]
) -> list[Id] | None:
    """The category id of each of the model's classes, found by name; None where they don't fit.

    The JSON may have categories without objects, such as a root, and one may have the name of
    another. A model that lost its names is held to have COCO's 80 classes if the JSON has them.

    Args:
        names: Name of each category by its id.
        used: Categories that have objects.
        classes: Names of the model's classes.
    """
    names_used = {names[number] for number in used}
    ids = {name: number for number, name in names.items()}
    ids |= {names[number]: number for number in used}
    unique = len(names_used) == len(used) and len({*classes}) == len(classes)
    if unique and names_used <= {*classes} <= {*ids}:
        return [ids[name] for name in classes]
    coco: list[Id] = [*coco_category_ids()]
    return coco if {*names} == {*coco} and len(classes) == len(coco) else None


def _difference(path: Path, names: Mapping[Id, str], model: str, classes: list[str]) -> str:
    numbers: dict[str, Id] = {}
    for number, name in names.items():
        if (first := numbers.setdefault(name, number)) != number:
            return f"{path}: two categories, {first!r} and {number!r}, are called {name!r}"
    parts = [f"{path} has {len(names)} classes, {model} has {len(classes)}"]
    if extra := sorted({*numbers} - {*classes}):
        parts.append(f"only the data have {', '.join(map(repr, extra[:5]))}")
    if missing := sorted({*classes} - {*numbers}):
        parts.append(f"only the model has {', '.join(map(repr, missing[:5]))}")
    return "; ".join([*parts, "the names must be the same"])
