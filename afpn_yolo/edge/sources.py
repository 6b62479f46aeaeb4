"""What a command line may name: images, folders, patterns, lists, videos, streams, cameras."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from afpn_yolo.edge.images import Image

IMAGES = ".avif .bmp .dng .heic .heif .jp2 .jpe .jpeg .jpg .mpo .png .tif .tiff .webp".split()  # noqa: SIM905
VIDEOS = ".asf .avi .gif .m4v .mkv .mov .mp4 .mpeg .mpg .ts .webm .wmv".split()  # noqa: SIM905
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # a drive of Windows has one letter, and a `\\`


@dataclass(frozen=True)
class Source:
    """An image or video file, a stream by its URL, or a camera by its number."""

    origin: Path | str | int

    @property
    def image(self) -> Path | None:
        """The file, if it is one and no video."""
        if isinstance(self.origin, Path) and self.origin.suffix.lower() not in VIDEOS:
            return self.origin
        return None

    @property
    def stem(self) -> str:
        """What files about it are named after."""
        if isinstance(self.origin, Path):
            return self.origin.stem
        return re.sub(r"\W+", "-", str(self)).strip("-")

    def __str__(self) -> str:
        if isinstance(self.origin, str):  # its user's password is nothing for reports
            return re.sub(r"(?<=://)[^/?#]*@", "", self.origin)
        return f"camera {self.origin}" if isinstance(self.origin, int) else str(self.origin)


def find(argument: str) -> list[Source]:
    """Find what an argument names; folders and patterns in alphabetical order.

    A .txt lists images, videos, folders and patterns, one per line, as for `yolo predict`: relative
    to the current folder, or else to the list's own.

    Raises:
        OSError: When a list is missing.
        ValueError: When a folder holds no image or video, no file matches a pattern, or a list is
            empty or no text.
    """
    if URL.match(argument):
        return [Source(argument)]
    path = Path(argument)
    if path.suffix.lower() == ".txt":
        return _listed(path)
    if argument.isdecimal() and not path.exists():
        return [Source(int(argument))]
    return _files(argument)


def find_images(argument: str) -> list[Path]:
    """The image files that an argument names: a file, a folder, a pattern or a list.

    Raises:
        OSError, ValueError: As `find`; also when a file is missing or there is no image.
    """
    images = [source.image for source in find(argument) if source.image]
    if not images:
        raise ValueError(f"{argument}: no image in it")
    if missing := [image for image in images if not image.exists()]:
        raise FileNotFoundError(f"{missing[0]}: no such file or folder")
    return images


def _files(argument: str) -> list[Source]:
    path = Path(argument)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in (*IMAGES, *VIDEOS))
        if not files:
            raise ValueError(f"{path}: a folder without images and videos")
    elif glob.has_magic(argument) and not path.exists():
        files = sorted(p for p in map(Path, glob.glob(argument, recursive=True)) if p.is_file())
        if not files:
            raise ValueError(f"{argument}: no file matches this pattern")
    else:
        files = [path]  # reading it says so where it is missing
    return [Source(file) for file in files]


def _listed(path: Path) -> list[Source]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected a list of images, and this is no text") from None
    sources: list[Source] = []
    for name in filter(None, map(str.strip, lines)):
        here = any(glob.iglob(name, recursive=True)) or Path(name).exists()
        sources += _files(name if here else str(path.parent / name))
    if not sources:
        raise ValueError(f"{path}: it names no image or video")
    return sources


class Film:
    """The frames of a video, a stream or a camera, one by one.

    Attributes:
        fps: Frames per second.
        count: How many frames the file announces; None for a camera, or where it says nothing.
    """

    def __init__(self, source: Source) -> None:
        """Open it.

        Raises:
            OSError: When a file is missing or may not be read.
            ValueError: When OpenCV can't open it.
        """
        origin = source.origin
        if isinstance(origin, Path):
            origin.open("rb").close()  # its error names the file and the reason
            origin = str(origin)
        self._capture = cv2.VideoCapture(origin)
        if not self._capture.isOpened():
            raise ValueError(f"{source}: OpenCV can't open it: missing, in use or damaged")
        fps, count = (self._capture.get(p) for p in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.fps = fps if 0 < fps < 1000 else 30.0  # some files and cameras give 0 or nonsense
        self.count = int(count) if 0 < count < 1e9 else None

    def __iter__(self) -> Iterator[Image]:
        while (frame := self._capture.read()[1]) is not None:
            yield np.asarray(frame, np.uint8)
