"""Detect objects in images, folders, videos or a camera, with an exported model, without torch.

    python -m afpn_yolo.edge best.onnx photos/ clip.mp4 --out drawn --json found.json
    python -m afpn_yolo.edge best.onnx 0 --out drawn        # a camera, until Ctrl-C

A line per source goes to standard output, or to standard error where `--json -` writes the list
there. What can't be read is named on standard error, the rest is still processed; the exit code is
then 1, or 2 where nothing could be processed.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack, closing, redirect_stdout

from tqdm import tqdm

from afpn_yolo.edge import Detections, Detector, images  # first: it says what isn't installed
from afpn_yolo.edge.arguments import STANDARD_OUTPUT, add_arguments, input_size
from afpn_yolo.edge.sinks import Album, JsonList
from afpn_yolo.edge.sources import Film, Frames, Picture, Source, find

PARTLY, FAULT = 1, 2
INTERRUPTED, PIPE_CLOSED = 130, 141  # as a shell reports SIGINT and SIGPIPE


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m afpn_yolo.edge",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    return parser.parse_args(argv)


class Pipeline:
    """One run of the command: what is detected goes where the options say."""

    def __init__(self, detector: Detector, album: Album | None, report: JsonList | None) -> None:
        self._detector, self._album, self._report = detector, album, report

    def process(self, source: Source) -> None:
        """Detect in a source.

        Raises:
            OSError, ValueError: When it can't be read, or a result can't be written.
        """
        if isinstance(source, Picture):
            self._picture(source)
        else:
            self._film(source)

    def _picture(self, source: Picture) -> None:
        image = images.read(source.path)
        found = self._detector(image)
        self._note({"source": str(source)}, image, found)
        if self._album:
            self._album.save(source, found.draw(image))
        print(f"{source}: {found}", flush=True)

    def _film(self, source: Film) -> None:
        frames = boxes = 0
        announced = None
        with ExitStack() as stack:
            film = stack.enter_context(closing(Frames(source)))
            announced = film.count
            album = self._album
            writer = stack.enter_context(closing(album.film(source, film.fps))) if album else None
            try:
                for frame in tqdm(
                    film, desc=str(source), total=film.count, unit=" frames", disable=None
                ):
                    found = self._detector(frame)
                    self._note({"source": str(source), "frame": frames}, frame, found)
                    if writer:
                        writer.write(found.draw(frame))
                    frames, boxes = frames + 1, boxes + len(found)
            except KeyboardInterrupt:
                if not source.is_live:  # a camera has no other end
                    raise
        # No fault: some files only estimate it.
        fewer = f" of {announced} that it announces" if announced and frames < announced else ""
        print(f"{source}: {frames} frames{fewer}, {boxes} boxes", flush=True)

    def _note(self, entry: dict[str, object], image: images.Image, found: Detections) -> None:
        if self._report:
            height, width = image.shape[:2]
            size = {"width": width, "height": height}
            self._report.append({**entry, **size, "detections": found.as_dicts()})


def run(args: argparse.Namespace) -> int:
    """Process all sources; returns the exit code."""
    failed, done = False, 0
    sources: list[Source] = []
    for argument in args.sources:
        try:
            sources += find(argument)
        except (OSError, ValueError) as error:
            failed = True
            _complain(error)
    with ExitStack() as stack:
        if args.json == STANDARD_OUTPUT:  # and nothing else goes there
            stack.enter_context(redirect_stdout(sys.stderr))
        try:
            detector = Detector(
                args.model,
                args.conf,
                args.iou,
                args.max_det,
                args.agnostic_nms,
                input_size(args.imgsz),
                args.threads,
                args.classes,
            )
            album = Album(args.out, sources) if args.out else None
            report = stack.enter_context(closing(JsonList(args.json))) if args.json else None
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as error:
            return _complain(error)
        if detector.unread:
            told = f"{args.model}: its boxes are read, its {detector.unread} are not"
            print(told, file=sys.stderr, flush=True)
        work = Pipeline(detector, album, report)
        for source in sources:
            try:
                work.process(source)
                done += 1
            except BrokenPipeError:
                raise
            except (OSError, ValueError) as error:
                failed = True
                _complain(error)
    if not failed:
        return 0
    return PARTLY if done else FAULT


def _complain(error: Exception) -> int:
    told: object = error
    if isinstance(error, FileNotFoundError) and error.filename:  # Python's own has a number in it
        told = f"{error.filename}: no such file or folder"
    print(f"error: {told}", file=sys.stderr, flush=True)
    return FAULT


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        return run(args)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads on, as behind `| head`. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:  # the end of the JSON can't be written
        return _complain(error)


if __name__ == "__main__":
    sys.exit(main())
