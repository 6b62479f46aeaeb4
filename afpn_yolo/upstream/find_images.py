"""Which images a user means, and where their pictures go."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from ultralytics.data.utils import IMG_FORMATS

IMAGE_SUFFIXES = frozenset(IMG_FORMATS)


def find_images(source: str) -> list[Path]:
    """The images that one source means: a file, a folder, or a glob.

    Raises:
        OSError: When it means none.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for file in sorted(path.iterdir()) if _is_image(file)]
    elif glob.has_magic(source):
        matches = map(Path, sorted(glob.glob(source, recursive=True)))
        found = [file for file in matches if _is_image(file)]
    else:
        raise FileNotFoundError(f"{source}: no such file or folder")
    if not found:
        raise FileNotFoundError(f"{source}: no image in it ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return found


def _is_image(file: Path) -> bool:
    return file.suffix[1:].lower() in IMAGE_SUFFIXES and file.is_file()


def picture_paths(images: Iterable[Path], folder: Path) -> dict[Path, Path]:
    """A file in `folder` for each image: its stem and `.png`, numbered where that is taken.

    An image that is named twice is there once. No image is ever overwritten.
    """
    unique: dict[Path, Path] = {}
    for image in images:
        unique.setdefault(image.resolve(), image)
    taken = {_key(image) for image in unique}
    result: dict[Path, Path] = {}
    for image in unique.values():
        path, number = folder / f"{image.stem}.png", 1
        while _key(path) in taken:
            number += 1
            path = folder / f"{image.stem}-{number}.png"
        taken.add(_key(path))
        result[image] = path
    return result


def _key(path: Path) -> str:
    return str(path.resolve()).casefold()  # some file systems know no case
