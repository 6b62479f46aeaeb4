"""Data sets in COCO's format: one JSON of images, annotations and categories.

Annotation tools differ in how they write it. Whatever can be meant in but one way is read.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afpn_yolo.base.values import EvaluationError, shown
from afpn_yolo.evaluation.coco import Floats
from afpn_yolo.upstream.data import coco_category_ids
from afpn_yolo.upstream.images import Size

Entry = dict[str, Any]
Id = int | float | str
ANNOTATIONS, BOXES = "COCO's annotations", "boxes of the annotations"
WHOLE = re.compile(r"\s*([+-]?(?:0|[1-9]\d*))(?:\.0*)?\s*")


@dataclass(frozen=True)
class Content:
    """What a JSON says.

    Attributes:
        files: The entry of each image, by its path and in the order of their ids.
        tables: The objects of each image (N, 7): columns as in `coco.GROUND_TRUTH` without the
            image.
        categories: COCO's id of each class of the model.
        area: What an object's area is.
    """

    files: dict[Path, Entry]
    tables: dict[Path, Floats]
    categories: list[Id]
    area: str

    def contradicts(self, file: Path, size: Size) -> bool:
        """Whether boxes are for an image of another size, e.g. of one that was not yet rotated."""
        entry = self.files[file]
        said = (_number(entry.get("height")), _number(entry.get("width")))
        # Tools that don't know it write 0, null or a word: the image itself has its size.
        return any(a > 0 and a != b for a, b in zip(said, size, strict=True) if a is not None)


def read_coco(path: Path, folder: Path | None, model_names: dict[int, str], model: str) -> Content:
    """Read a data set; its images are not opened.

    Args:
        path: The JSON, e.g. `annotations/instances_val2017.json`.
        folder: Where the images are; None looks where COCO keeps them.
        model_names: The model's classes. Categories are found by name, or are COCO's own.
        model: What messages call it.

    Raises:
        EvaluationError: When the file is not as it must be, or not of the model's classes.
    """
    images, annotations, entries = _load(path)
    names = _names(path, entries)
    categories = _match_categories(annotations, names, model_names)
    if categories is None:
        raise EvaluationError(_difference(path, names, model, model_names))
    classes = {category: number for category, number in zip(categories, model_names, strict=True)}
    files = _files(path, folder, _images(path, images))
    known = {entry["id"] for entry in files.values()}
    rows: defaultdict[Id, list[list[float]]] = defaultdict(list)
    for annotation in annotations:
        image, category = annotation["image_id"], annotation["category_id"]
        if image not in known:
            raise EvaluationError(f"{path}: an annotation is for image {image!r}, which it lacks")
        if category not in classes:
            raise EvaluationError(
                f"{path}: an annotation has category {category!r}, which it lacks"
            )
        rows[image].append([classes[category], *annotation["row"]])
    tables = {file: np.array(rows[e["id"]], float).reshape(-1, 7) for file, e in files.items()}
    measured = not annotations or any(_given(a.get("area")) for a in annotations)
    return Content(files, tables, categories, ANNOTATIONS if measured else BOXES)


def read_names(path: Path) -> list[str]:
    """Names of the categories that have objects, by their ids.

    Raises:
        EvaluationError: When the file is not as it must be.
    """
    _, annotations, categories = _load(path)
    used = {annotation["category_id"] for annotation in annotations}
    kept = [item for item in _names(path, categories).items() if item[0] in used]
    # Some tools put a root category first that no object has.
    return [name for _, name in sorted(kept, key=lambda item: _order(item[0]))]


def _order(number: Id) -> tuple[bool, Any]:
    return isinstance(number, str), number


def _load(path: Path) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """Images, annotations and categories, their ids and boxes brought into one form."""
    try:
        content = json.loads(path.read_bytes())  # it finds out about encodings and their marks
    except OSError as error:
        raise EvaluationError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{path} is no JSON: {error}") from None
    lists = []
    for key, read in (("images", _image), ("annotations", _annotation), ("categories", _category)):
        # COCO's lists of its test images have none.
        default = [] if key == "annotations" and path.stem.startswith("image_info") else None
        entries = content.get(key, default) if isinstance(content, dict) else None
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
        raise EvaluationError(f"{where} must be an object, got {shown(entry)}")
    try:
        return {**entry, **read(entry)}
    except ValueError as error:
        raise EvaluationError(f"{where} {error}") from None


def _image(entry: Entry) -> Entry:
    if not isinstance(entry.get("file_name", ""), str):
        raise ValueError(f"has the file_name {shown(entry['file_name'])}, expected a string")
    return {"id": _id(entry, "id"), "file_name": _text(entry, "file_name")}


def _category(entry: Entry) -> Entry:
    named = entry if _given(entry.get("name")) else {"name": entry.get("supercategory")}
    return {"id": _id(entry, "id"), "name": _text({k: v for k, v in named.items() if v}, "name")}


def _annotation(entry: Entry) -> Entry:
    """With `row`: left, top, width, height, area, crowd."""
    ids = {key: _id(entry, key) for key in ("image_id", "category_id")}
    box = entry.get("bbox")
    if box is None:
        raise ValueError("has no 'bbox'")
    numbers = [_number(x) for x in box] if isinstance(box, list) else []
    if len(numbers) != 4 or None in numbers or min(numbers[2:]) < 0:  # type: ignore[type-var]
        raise ValueError(f"has the bbox {shown(box)}, expected left, top, width >= 0, height >= 0")
    left, top, width, height = (float(x) for x in numbers if x is not None)
    area = _number(entry["area"]) if _given(entry.get("area")) else width * height
    crowd = _number(entry["iscrowd"]) if _given(entry.get("iscrowd")) else 0
    if area is None or crowd not in (0, 1):
        raise ValueError("has an area that is no number, or an iscrowd that is neither 0 nor 1")
    return {**ids, "row": [left, top, width, height, area, float(crowd)]}


def _id(entry: Entry, field: str) -> Id:
    """An id: "7" and 7.0 are 7, as tools write it here so and there so."""
    if not _given(entry.get(field)):
        raise ValueError(f"has no {field!r}")
    value = entry[field]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"has the {field} {shown(value)}, expected a number or a string")
    if isinstance(value, str):
        whole = WHOLE.fullmatch(value)
        return int(whole[1]) if whole else value
    if not math.isfinite(value):
        raise ValueError(f"has the {field} {value}, expected a number or a string")
    return int(value) if value == int(value) else value


def _text(entry: Entry, field: str) -> str:
    if not _given(entry.get(field)):
        raise ValueError(f"has no {field!r}")
    value = entry[field]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"has the {field} {shown(value)}, expected a string")
    return value


def _number(value: object) -> float | None:
    """A finite number, written as one or as a string."""
    if not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _given(value: object) -> bool:
    return value is not None and value != ""


def _images(path: Path, images: list[Entry]) -> list[Entry]:
    """By their ids, each once. pycocotools goes so: among equal scores the order decides."""
    by_id: dict[Id, Entry] = {}
    for entry in images:
        other = by_id.setdefault(entry["id"], entry)
        if _place(other) != _place(entry):
            raise EvaluationError(
                f"{path}: image id {entry['id']!r} is on two files, {other['file_name']} and "
                f"{entry['file_name']}; give each an id of its own"
            )
    return sorted(by_id.values(), key=lambda entry: _order(entry["id"]))


def _place(entry: Entry) -> Path:
    """The name of a file as this system writes it; some tools write it as Windows does."""
    return Path(entry["file_name"].replace("\\", "/"))


def _files(path: Path, folder: Path | None, entries: list[Entry]) -> dict[Path, Entry]:
    """The entries by their files."""
    folder = folder or _find_folder(path, entries)
    bare = [_place(entry).name for entry in entries]
    files: dict[Path, Entry] = {}
    for entry in entries:
        file = _exact(folder, entry)
        # The folders before it may be those of the machine where it was annotated.
        alone = folder / _place(entry).name
        if not file.is_file() and alone.is_file() and bare.count(alone.name) == 1:
            file = alone
        other = files.setdefault(file, entry)
        if other is not entry:
            raise EvaluationError(
                f"{path}: {entry['file_name']} has two image ids, {other['id']!r} and "
                f"{entry['id']!r}; put its objects under one"
            )
    return files


def _exact(folder: Path, entry: Entry) -> Path:
    as_written = folder / entry["file_name"]
    return as_written if as_written.is_file() else folder / _place(entry)


def _find_folder(path: Path, entries: list[Entry]) -> Path:
    """Look for the images in the folders that COCO's own layout and exports use."""
    split = path.stem.removeprefix("instances_")
    root = path.parent.parent
    places = [root / "images" / split, root / split, root / "images", root]
    places += [path.parent / split, path.parent / "images", path.parent]
    for name in (_place, lambda entry: _place(entry).name):
        for folder in places:
            if any((folder / name(entry)).is_file() for entry in entries[:100]):
                return folder
    raise EvaluationError(
        f"{path}: its images, e.g. {entries[0]['file_name']}, are not in {places[0]}, {places[1]} "
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
    annotations: list[Entry], names: Mapping[Id, str], model_names: dict[int, str]
) -> list[Id] | None:
    """COCO's category id of each of the model's classes; None where the two don't fit."""
    used = {annotation["category_id"] for annotation in annotations}
    known = {*model_names.values()}
    # Some tools put a root category first that no object has, or a class in twice.
    kept = {i: name for i, name in names.items() if i in used or name in known}
    by_name: dict[str, Id] = {}
    for number in sorted(kept, key=lambda i: i in used):
        by_name[kept[number]] = number
    spare = used - {*by_name.values()}  # objects of a class under both of its ids
    if not spare & {*names} and len(known) == len(model_names) and {*by_name} == known:
        return [by_name[name] for name in model_names.values()]
    own: list[Id] = [*coco_category_ids()]
    return own if {*names} == {*own} and len(model_names) == len(own) else None


def _difference(
    path: Path, names: Mapping[Id, str], model: str, model_names: dict[int, str]
) -> str:
    ids: defaultdict[str, list[Id]] = defaultdict(list)
    for number, name in names.items():
        ids[name].append(number)
    for name, (first, *more) in ids.items():
        if more:
            return f"{path}: two categories, {first!r} and {more[0]!r}, are called {name!r}"
    data = [*names.values()]
    ours, theirs = sorted({*data} - {*model_names.values()}), {*model_names.values()} - {*data}
    parts = [f"{path} has {len(data)} classes, {model} has {len(model_names)}"]
    parts += [f"only the data have {', '.join(map(repr, ours[:5]))}"] * bool(ours)
    parts += [f"only the model has {', '.join(map(repr, sorted(theirs)[:5]))}"] * bool(theirs)
    return "; ".join([*parts, "the names must be the same"])
