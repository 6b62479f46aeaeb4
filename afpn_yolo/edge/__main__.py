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

from afpn_yolo.edge.command import PARTLY, STANDARD_OUTPUT, add_arguments, complain, ended


def run(args: argparse.Namespace) -> int:
    """Process all sources; returns the exit code."""
    from afpn_yolo.edge import Detector  # first: it says what isn't installed
    from afpn_yolo.edge.sinks import Album, JsonList, Pipeline
    from afpn_yolo.edge.sources import Source, find

    sources: list[Source] = []
    done = failed = 0
    with ExitStack() as stack:
        if args.json == STANDARD_OUTPUT:  # and nothing else goes there
            stack.enter_context(redirect_stdout(sys.stderr))
        options = ("conf", "iou", "max_det", "agnostic", "imgsz", "threads", "classes")
        detector = Detector(args.model, **{name: getattr(args, name) for name in options})
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
        pipeline = Pipeline(detector, album, report)
        for source in sources:
            try:
                pipeline.process(source)
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
