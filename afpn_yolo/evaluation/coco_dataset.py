"""Data sets in COCO's format: one JSON of images, annotations and categories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.evaluation.coco import Floats
from afpn_yolo.evaluation.coco_schema import Entry, Id, as_number, is_set, load
from afpn_yolo.upstream.data import Size, coco_category_ids

ANNOTATIONS, BOXES = "COCO's annotations", "boxes of the annotations"


@dataclass(frozen=True)
class Content:
    """A data set as its JSON describes it.

    Attributes:
        files: The entry of each image, by its path and in the order of their ids.
        tables: The objects of each image (N, 7): columns as in `coco.GROUND_TRUTH` without the
            image.
        categories: COCO's id of each class of the model.
        area: Which area of an object its size goes by.
    """

    files: dict[Path, Entry]
    tables: dict[Path, Floats]
    categories: list[Id]
    area: str

    def contradicts(self, file: Path, size: Size) -> bool:
        """Whether the JSON states another size, e.g. that before the image was rotated."""
        entry = self.files[file]
        stated = (as_number(entry.get("height")), as_number(entry.get("width")))
        # Tools that don't know the size write 0, null or a word.
        return any(a > 0 and a != b for a, b in zip(stated, size, strict=True) if a is not None)


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
    images, annotations, entries = load(path)
    names = _names(path, entries)
    used = {annotation["category_id"] for annotation in annotations}
    categories = _match_categories(names, used, model_names)
    if categories is None:
        raise EvaluationError(_difference(path, names, model, model_names))
    classes = dict(zip(categories, model_names, strict=True))
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
    measured = not annotations or any(is_set(a.get("area")) for a in annotations)
    return Content(files, tables, categories, ANNOTATIONS if measured else BOXES)


def read_files(path: Path, folder: Path | None) -> dict[Path, Entry]:
    """The entry of each image, by its path and in the order of their ids; see `read_coco`.

    Raises:
        EvaluationError: When the file is not as it must be, or its images can't be found.
    """
    images, *_ = load(path)
    return _files(path, folder, _images(path, images))


def read_names(path: Path) -> list[str]:
    """Names of the categories that have objects, by their ids.

    Raises:
        EvaluationError: When the file is not as it must be.
    """
    _, annotations, categories = load(path)
    used = {annotation["category_id"] for annotation in annotations}
    names = _names(path, categories)
    return [names[number] for number in sorted(used & {*names}, key=_order)]


def _order(number: Id) -> tuple[bool, Any]:
    return isinstance(number, str), number


def _images(path: Path, images: list[Entry]) -> list[Entry]:
    """Sorted by id, each once, as pycocotools does: the order decides among equal scores."""
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
    """The file name as a path; some tools write backslashes."""
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
    names: Mapping[Id, str], used: set[Id], model_names: Mapping[int, str]
) -> list[Id] | None:
    """The category id of each of the model's classes; None where the two don't fit.

    Args:
        names: Name of each category by its id. Some tools add a root category without objects, or
            have a class twice.
        used: Categories that have objects.
        model_names: The model's classes.
    """
    wanted = [*model_names.values()]
    with_objects = [names[number] for number in used if number in names]
    # Of two categories with one name, the one that has objects counts.
    ids = {names[number]: number for number in sorted(names, key=lambda number: number in used)}
    unique = len({*with_objects}) == len(with_objects) and len({*wanted}) == len(wanted)
    if unique and {*with_objects} <= {*wanted} <= {*ids}:
        return [ids[name] for name in wanted]
    coco: list[Id] = [*coco_category_ids()]
    return coco if {*names} == {*coco} and len(wanted) == len(coco) else None


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
    classes = {*model_names.values()}
    extra, missing = sorted({*data} - classes), sorted(classes - {*data})
    parts = [f"{path} has {len(data)} classes, {model} has {len(model_names)}"]
    parts += [f"only the data have {', '.join(map(repr, extra[:5]))}"] * bool(extra)
    parts += [f"only the model has {', '.join(map(repr, missing[:5]))}"] * bool(missing)
    return "; ".join([*parts, "the names must be the same"])
