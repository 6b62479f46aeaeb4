"""Detect objects in images, folders, videos or a camera, with an exported model, without torch.

    afpn detect best.onnx photos/ clip.mp4 --out drawn --json found.json
    afpn detect best.onnx 0 --out drawn        # a camera, until Ctrl-C

One line per source goes to standard output, or to standard error where `--json -` writes the list
there. A source that can't be read gives an error, and the others are still processed; the exit code
is then 1, or 2 where none could be processed. `python -m afpn_yolo.edge` is the same command; it
needs nothing but Python, numpy, OpenCV, ONNX Runtime and tqdm.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, closing, redirect_stdout
from typing import TYPE_CHECKING, Any

from afpn_yolo.edge.command import (
    PARTLY,
    STANDARD_OUTPUT,
    add_arguments,
    complain,
    ended,
)

if TYPE_CHECKING:
    from afpn_yolo.edge import Detections, Detector
    from afpn_yolo.edge.images import Image
    from afpn_yolo.edge.sinks import Album, JsonList
    from afpn_yolo.edge.sources import Film, Picture, Source


class Pipeline:
    """Detects in one source after the other and writes what the options ask for."""

    def __init__(self, detector: Detector, album: Album | None, report: JsonList | None) -> None:
        self._detector, self._album, self._report = detector, album, report

    def process(self, source: Source) -> None:
        """Detect in a source.

        Raises:
            OSError, ValueError: When it can't be read, or a result can't be written.
        """
        from afpn_yolo.edge.sources import Picture

        if isinstance(source, Picture):
            self._picture(source)
        else:
            self._film(source)

    def _picture(self, source: Picture) -> None:
        from afpn_yolo.edge import images

        image = images.read(source.path)
        detections = self._detector(image)
        self._note({"source": str(source)}, image, detections)
        if self._album:
            self._album.save(source, detections.draw(image))
        print(f"{source}: {detections}", flush=True)

    def _film(self, source: Film) -> None:
        from tqdm import tqdm

        from afpn_yolo.edge.sources import Frames

        frames = boxes = 0
        announced = None
        with ExitStack() as stack:
            film = stack.enter_context(closing(Frames(source)))
            announced = film.count
            album = self._album
            writer = stack.enter_context(closing(album.film(source, film.fps))) if album else None
            bar = tqdm(film, desc=str(source), total=film.count, unit=" frames", disable=None)
            try:
                for frame in bar:
                    detections = self._detector(frame)
                    self._note({"source": str(source), "frame": frames}, frame, detections)
                    if writer:
                        writer.write(detections.draw(frame))
                    frames, boxes = frames + 1, boxes + len(detections)
            except KeyboardInterrupt:
                if not source.is_live:  # a camera has no other end
                    raise
        # Not an error: some files only estimate their number of frames.
        fewer = f" of {announced} announced" if announced and frames < announced else ""
        print(f"{source}: {frames} frames{fewer}, {boxes} boxes", flush=True)

    def _note(self, entry: dict[str, Any], image: Image, detections: Detections) -> None:
        if self._report:
            height, width = image.shape[:2]
            size = {"width": width, "height": height}
            self._report.append({**entry, **size, "detections": detections.as_dicts()})


def run(args: argparse.Namespace) -> int:
    """Process all sources; returns the exit code."""
    from afpn_yolo.edge import Detector  # first: it says what isn't installed
    from afpn_yolo.edge.sinks import Album, JsonList
    from afpn_yolo.edge.sources import find

    sources: list[Source] = []
    done = failed = 0
    with ExitStack() as stack:
        if args.json == STANDARD_OUTPUT:  # and nothing else goes there
            stack.enter_context(redirect_stdout(sys.stderr))
        detector = Detector(
            args.model,
            args.conf,
            args.iou,
            args.max_det,
            args.agnostic_nms,
            args.imgsz,
            args.threads,
            args.classes,
        )
        for argument in args.source:
            try:
                sources += find(argument)
            except (OSError, ValueError) as error:
                failed = complain(error)
        album = Album(args.out) if args.out else None
        report = stack.enter_context(closing(JsonList(args.json))) if args.json else None
        if detector.unread:
            note = f"{args.model}: only its boxes are read, not its {detector.unread}"
            print(note, file=sys.stderr, flush=True)
        work = Pipeline(detector, album, report)
        for source in sources:
            try:
                work.process(source)
                done += 1
            except BrokenPipeError:
                raise
            except (OSError, ValueError) as error:
                failed = complain(error)
    return PARTLY if failed and done else failed


def main(argv: list[str] | None = None) -> int:
    """Run `python -m afpn_yolo.edge`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m afpn_yolo.edge",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    return ended(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
