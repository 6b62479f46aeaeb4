"""Files that the command line writes: pictures and videos with boxes, and a JSON list."""

from __future__ import annotations

import json
from io import FileIO
from pathlib import Path
from typing import Any

import cv2

from afpn_yolo.edge.command import STANDARD_OUTPUT
from afpn_yolo.edge.images import Image
from afpn_yolo.edge.sources import Source


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """A path that no file has yet: `x.jpg`, or `x-2.jpg` where that exists, and so on."""
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


class Album:
    """A folder for pictures and videos with boxes, named after their sources.

    No file is ever overwritten: names that exist get a number.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def save(self, source: Source, picture: Image) -> None:
        """Write a picture as JPEG.

        Raises:
            OSError: When it can't be written.
        """
        path = free_path(self._folder, source.path.stem, ".jpg")
        done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        if not done:
            height, width = picture.shape[:2]
            raise OSError(f"{path}: OpenCV can't write a JPEG of {width} x {height} pixels")
        path.write_bytes(jpeg.tobytes())

    def film(self, source: Source, fps: float) -> FilmWriter:
        """A writer of a video."""
        return FilmWriter(free_path(self._folder, source.path.stem, ".avi"), fps)


class FilmWriter:
    """Writes frames into a video, Motion JPEG: every build of OpenCV has it."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None  # its size is that of the first frame

    def write(self, frame: Image) -> None:
        """Append a frame.

        Raises:
            OSError: When the video can't be written.
        """
        if self._writer is None:
            size = (frame.shape[1], frame.shape[0])
            code = cv2.VideoWriter.fourcc(*"MJPG")
            self._writer = cv2.VideoWriter(str(self._path), code, self._fps, size)
            if not self._writer.isOpened():
                raise OSError(f"{self._path}: OpenCV can't write this video")
        self._writer.write(frame)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


class JsonList:
    """A JSON list in a file or on standard output, entry by entry: a camera may run for days."""

    def __init__(self, path: Path) -> None:
        # Standard output by its number, wherever `print` is redirected; a name as text, as errors
        # show it. Unbuffered, so that a full disk is an error at once.
        standard = path == STANDARD_OUTPUT
        self._file = FileIO(1 if standard else str(path), "w", closefd=not standard)
        self._write("[")  # it says at once where the file can't be written
        self._separator = "\n"

    def append(self, entry: dict[str, Any]) -> None:
        """Write an entry.

        Raises:
            OSError: When it can't be written.
        """
        self._write(self._separator + json.dumps(entry, ensure_ascii=False))
        self._separator = ",\n"

    def close(self) -> None:
        """Write the end of the list."""
        with self._file:
            self._write("\n]\n")

    def _write(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[self._file.write(data) :]
