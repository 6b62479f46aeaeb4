"""What the command line makes of a source: pictures and videos with boxes, and a JSON list."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
from tqdm import tqdm

from afpn_yolo.edge import images
from afpn_yolo.edge.command import STANDARD_OUTPUT
from afpn_yolo.edge.images import Image
from afpn_yolo.edge.sources import Film, Source

if TYPE_CHECKING:
    from afpn_yolo.edge import Detections, Detector


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
        """Write a picture as JPEG; an `OSError` when it can't be written."""
        path = free_path(self._folder, source.stem, ".jpg")
        done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        if not done:
            raise OSError(f"{path}: OpenCV can't write a JPEG of shape {picture.shape}")
        path.write_bytes(jpeg.tobytes())

    def video(self, source: Source, fps: float, picture: Image) -> cv2.VideoWriter:
        """Open a video for pictures of this size; an `OSError` when it can't be written."""
        path = free_path(self._folder, source.stem, ".avi")
        code = cv2.VideoWriter.fourcc(*"MJPG")  # every build of OpenCV has it
        writer = cv2.VideoWriter(str(path), code, fps, picture.shape[1::-1])
        if not writer.isOpened():
            raise OSError(f"{path}: OpenCV can't write this video")
        return writer


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
        """Write an entry; an `OSError` when it can't be written."""
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


@dataclass(frozen=True)
class Pipeline:
    """Detects in one source after the other and writes what the options ask for."""

    detector: Detector
    album: Album | None
    report: JsonList | None

    def process(self, source: Source) -> None:
        """Detect in a source, and print a line about it.

        Raises:
            OSError, ValueError: When it can't be read, or a result can't be written.
        """
        if source.image:
            image = images.read(source.image)
            detections = self._detect(image, source=str(source))
            if self.album:
                self.album.save(source, detections.draw(image))
            print(f"{source}: {detections}", flush=True)
        else:
            self._film(source, Film(source))

    def _film(self, source: Source, film: Film) -> None:
        frames = boxes = 0
        writer = None
        bar = tqdm(film, desc=str(source), total=film.count, unit=" frames", disable=None)
        try:
            for frame in bar:
                detections = self._detect(frame, source=str(source), frame=frames)
                if self.album:
                    picture = detections.draw(frame)
                    writer = writer or self.album.video(source, film.fps, picture)
                    writer.write(picture)
                frames, boxes = frames + 1, boxes + len(detections)
        except KeyboardInterrupt:
            if isinstance(source.origin, Path):  # a camera or stream has no other end
                raise
        if not frames:
            raise ValueError(f"{source}: gives no frame")
        # Not an error: some files only estimate their number of frames.
        fewer = f" of {film.count} announced" if frames < (film.count or 0) else ""
        print(f"{source}: {frames} frames{fewer}, {boxes} boxes", flush=True)

    def _detect(self, image: Image, **entry: str | int) -> Detections:
        """Detect in an image and report it, the entry first."""
        detections = self.detector(image)
        if self.report:
            size = {"width": image.shape[1], "height": image.shape[0]}
            self.report.append({**entry, **size, "detections": detections.as_dicts()})
        return detections
