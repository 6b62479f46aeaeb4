"""A detection data set: its images, and one table of all their objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.base.files import is_json
from afpn_yolo.evaluation.coco import GROUND_TRUTH, Floats
from afpn_yolo.evaluation.coco_dataset import Id, read_coco
from afpn_yolo.upstream.data import Size, images_of, label_path, open_data, read_labels, read_sizes
from afpn_yolo.upstream.log import warn

COCO_SPLIT = "val2017"


@dataclass(frozen=True)
class DataSet:
    """The N images that can be read, and what is on them.

    Attributes:
        source: The file that the user named.
        images: Paths of the images.
        sizes: Their heights and widths, upright.
        truth: (M, 8), columns as in `coco.GROUND_TRUTH`; an image's number is its place in
            `images`, boxes and areas are in pixels of the original.
        names: Class number, as the model counts, to name.
        ids: COCO's id of each image; their places where the labels know none.
        categories: COCO's id of each class, in the order of `names`.
        damaged: Images that were left out with their objects, and why. Those that turned out to
            be unreadable when they were decoded are among `images`, too.
        area: What an object's area is.
    """

    source: str
    images: list[Path]
    sizes: list[Size]
    truth: Floats
    names: dict[int, str]
    ids: list[Id]
    categories: list[Id]
    damaged: dict[Path, str]
    area: str

    def without(self, failed: dict[int, str]) -> DataSet:
        """The set without the objects of images that turned out to be unreadable.

        Their places stay, so that detections keep their numbers.
        """
        damaged = {self.images[place]: reason for place, reason in failed.items()}
        truth = self.truth[~np.isin(self.truth[:, 0], list(failed))]
        return replace(self, truth=truth, damaged={**self.damaged, **damaged})


def read_data(
    data: str | Path,
    names: Mapping[int, str],
    split: str = "val",
    images: str | Path | None = None,
    model: str = "the model",
) -> DataSet:
    """Read a data YAML or, where the name ends in `.json`, COCO's format.

    Args:
        data: The file, or a name that `yolo data=` finds.
        names: Class number and name of the model that will be evaluated.
        split: Of a data YAML: `train`, `val` or `test`.
        images: The folder of the images of a JSON; None finds COCO's own layout.
        model: What messages call the model.

    Raises:
        EvaluationError: When it can't be read, or isn't of these classes.
    """
    source = str(data)
    if is_json(source):
        folder = Path(images) if images else None
        return _of_json(source, Path(data), folder, dict(names), model)
    if images:
        raise EvaluationError(f"{data} says itself where its images are; --images is for a .json")
    content = open_data(source)
    _check_names(source, content["names"], model, names)
    paths = images_of(source, split, content)
    annotations = _cocos_own(content, split, paths)
    if annotations:
        try:
            return _of_json(source, annotations, paths[0].parent, dict(names), model, {*paths})
        except EvaluationError as error:
            warn(f"{source} is judged by its labels, not by COCO's annotations: {error}")
    return _of_labels(source, split, content, paths)


def _of_json(
    source: str,
    path: Path,
    folder: Path | None,
    names: dict[int, str],
    model: str,
    only: Collection[Path] = (),
) -> DataSet:
    content = read_coco(path, folder, names, model)
    if absent := {*only} - content.files.keys():
        raise EvaluationError(f"{path} doesn't know {min(absent)}")
    sizes, damaged = read_sizes([file for file in content.files if not only or file in only])
    for file, size in [*sizes.items()]:
        # Tools that don't know the size write 0 or a word.
        stated = zip(content.files[file]["size"], size, strict=True)
        if any(a > 0 and a != b for a, b in stated):  # e.g. it was rotated since
            height, width = sizes.pop(file)
            damaged[file] = f"it is {width} x {height} pixels, {path.name} says otherwise"
    _check_any(str(path), sizes, damaged)
    return DataSet(
        source=source,
        images=[*sizes],
        sizes=[*sizes.values()],
        truth=_as_table([content.tables[file] for file in sizes]),
        names=names,
        ids=[content.files[file]["id"] for file in sizes],
        categories=content.categories,
        damaged=damaged,
        area=content.area,
    )


def _cocos_own(content: dict[str, Any], split: str, images: list[Path]) -> Path | None:
    """COCO's annotations of its val2017, where a split is that, or a part of it."""
    sources = content[split] if isinstance(content[split], list) else [content[split]]
    if {Path(source).stem for source in sources} != {COCO_SPLIT}:
        return None
    path = Path(content["path"], "annotations", f"instances_{COCO_SPLIT}.json")
    one_folder = len({image.parent for image in images}) == 1
    return path if one_folder and path.is_file() else None


def _of_labels(source: str, split: str, content: dict[str, Any], images: list[Path]) -> DataSet:
    missing = [image for image in images if not label_path(image).is_file()]
    if len(missing) == len(images):
        raise EvaluationError(
            f"{source}: none of the {len(images)} images of split {split!r} has a label file; "
            f"expected e.g. {label_path(images[0])}"
        )
    if missing:
        warn(f"{source}: {len(missing)} images without a label file are backgrounds")
    sizes, damaged = read_sizes(images)
    labels, faulty = read_labels(sizes, content)
    damaged |= faulty
    sizes = {image: size for image, size in sizes.items() if image in labels}
    _check_any(source, sizes, damaged)
    return DataSet(
        source=source,
        images=[*sizes],
        sizes=[*sizes.values()],
        truth=_as_table([_to_pixels(size, labels[image]) for image, size in sizes.items()]),
        names=content["names"],
        ids=[*range(len(sizes))],
        categories=[*content["names"]],
        damaged=damaged,
        area="boxes of the YOLO labels",
    )


def _check_names(
    data: str, names: Mapping[int, str], model: str, model_names: Mapping[int, str]
) -> None:
    if len(names) != len(model_names):
        raise EvaluationError(
            f"{data} has {len(names)} classes, {model} has {len(model_names)}; "
            "evaluate a model on the classes it was trained for"
        )
    name, count = Counter(names.values()).most_common(1)[0]
    if count > 1:
        raise EvaluationError(f"{data}: several classes have the name {name!r}")
    for number, name in names.items():
        if name != model_names.get(number):
            warn(f"{data} calls a class {name!r} that {model} calls {model_names.get(number)!r}")
            break


def _check_any(source: str, images: Mapping[Path, Size], damaged: dict[Path, str]) -> None:
    if not images:
        first, reason = next(iter(damaged.items()))
        raise EvaluationError(
            f"{source}: none of its {len(damaged)} images can be used; {first}: {reason}"
        )


def _to_pixels(size: Size, labels: Floats) -> Floats:
    """(N, 7), a row of the ground truth without its image, from the labels of one image."""
    height, width = size
    number, x, y, w, h = labels.T * np.array([[1], [width], [height], [width], [height]])
    return np.stack([number, x - w / 2, y - h / 2, w, h, w * h, np.zeros(len(labels))], 1)


def _as_table(rows: list[Floats]) -> Floats:
    """Stack the tables of the images, the image's place before each."""
    numbered = [np.insert(table, 0, place, axis=1) for place, table in enumerate(rows)]
    return np.concatenate([np.zeros((0, len(GROUND_TRUTH))), *numbered])
