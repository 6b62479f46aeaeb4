"""Files that the command line writes: pictures and videos with boxes, and a JSON list."""

from __future__ import annotations

import json
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any

import cv2

from afpn_yolo.edge.arguments import STANDARD_OUTPUT
from afpn_yolo.edge.images import Image
from afpn_yolo.edge.sources import Source


class Album:
    """A folder that pictures and videos with boxes go into, under their sources' names.

    Several threads may use it.
    """

    def __init__(self, folder: Path, sources: Iterable[Source]) -> None:
        """Make the folder.

        Args:
            folder: Where to write.
            sources: Files that must not be written over.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._taken = {source.path.resolve() for source in sources}
        self._lock = Lock()

    def save(self, source: Source, picture: Image) -> None:
        """Write a picture as JPEG.

        Raises:
            OSError: When it can't be written.
        """
        path = self._name(source, ".jpg")
        done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        if not done:
            height, width = picture.shape[:2]
            raise OSError(f"{path}: OpenCV can't write a JPEG of {width} x {height} pixels")
        path.write_bytes(jpeg.tobytes())

    def film(self, source: Source, fps: float) -> FilmWriter:
        """A writer of a video."""
        return FilmWriter(self._name(source, ".avi"), fps)

    def _name(self, source: Source, suffix: str) -> Path:
        """A name that is free: `a/x.png` and `b/x.jpg` become `x.jpg` and `x-2.jpg`."""
        path, k = self._folder / f"{source.path.stem}{suffix}", 1
        with self._lock:
            while path.resolve() in self._taken:
                k += 1
                path = self._folder / f"{source.path.stem}-{k}{suffix}"
            self._taken.add(path.resolve())
        return path


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
    """A JSON list in a file or on standard output, entry by entry: a camera may run for days.

    Several threads may append to it.
    """

    def __init__(self, path: Path) -> None:
        """Begin the list; what went to standard output can't be taken back."""
        self._mends = path != STANDARD_OUTPUT
        # A name as text, as errors have it; standard output's number, whatever `print` is led to.
        target = str(path) if self._mends else 1
        # Unbuffered: what could not be written must not come back later.
        self._file = FileIO(target, "w", closefd=self._mends)
        self._end = 0  # of the last whole entry, in bytes
        self._broken = False  # something may stand behind it
        self._lock = Lock()
        self._write("[")

    def append(self, entry: dict[str, Any]) -> None:
        """Write an entry, in a file whole or not at all.

        Raises:
            OSError: When it can't be written.
        """
        text = json.dumps(entry, ensure_ascii=False)
        with self._lock:
            self._write(("\n" if self._end == 1 else ",\n") + text)

    def close(self) -> None:
        """Write the end of the list."""
        with self._file:
            self._write("\n]\n")

    def _write(self, text: str) -> None:
        # A full disk, or Ctrl-C between any two steps, leaves the mark; the next call cleans up.
        if self._broken and self._mends:
            self._file.seek(self._end)
            self._file.truncate()
        self._broken = True
        data = text.encode()
        written = 0
        while written < len(data):
            written += self._file.write(data[written:])
        self._end += len(data)
        self._broken = False
