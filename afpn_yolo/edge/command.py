"""The options of detection, and how a command ends. `--help` needs nothing but Python."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

PARTLY, FAULT = 1, 2
INTERRUPTED, PIPE_CLOSED = 130, 141  # as a shell reports SIGINT and SIGPIPE
STANDARD_OUTPUT = Path("-")


def ended(run: Callable[[], int], stopped: str = "stopped") -> int:
    """Run a command and return its exit code: a user's mistake is one sentence and exit code 2.

    Exceptions other than `OSError`, `ValueError` and a missing package are bugs of ours and keep
    their traceback.

    Args:
        run: The command.
        stopped: What to print on Ctrl-C, unless the `KeyboardInterrupt` has a message.
    """
    try:
        try:
            return run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Otherwise Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (OSError, ValueError) as error:
        return complain(error)
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("afpn_yolo"):
            raise
        named = "pip install" in str(error)
        return complain(
            error if named else f"{error.name} is not installed: pip install {error.name}"
        )
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or stopped}", file=sys.stderr)
        return INTERRUPTED


def complain(error: object) -> int:
    """Print an error as one sentence; returns exit code 2."""
    if isinstance(error, FileNotFoundError) and error.filename:  # Python's message has its number
        error = f"{error.filename}: no such file or folder"
    print(f"error: {error}", file=sys.stderr, flush=True)
    return FAULT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add model, sources and options."""
    add = parser.add_argument
    add("model", metavar="MODEL.onnx", type=Path, help="exported by Ultralytics")
    add(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="image, folder, pattern in quotes, list of these in a .txt, video, URL of a stream, "
        "or the number of a camera",
    )
    add("--conf", type=float, default=0.25, help="least score (0.25)")
    add("--iou", type=float, default=0.7, help="IoU threshold of NMS (0.7)")
    add("--imgsz", type=int, nargs="+", help="input size of a dynamic model (as exported)")
    add("--classes", type=int, nargs="+", metavar="N", help="only these classes (all)")
    add("--max-det", type=int, default=300, metavar="N", help="boxes per image at most (300)")
    add("--agnostic-nms", dest="agnostic", action="store_true", help="NMS across classes")
    add("--threads", type=int, help="threads of ONNX Runtime (it decides)")
    add("--out", metavar="DIR", type=Path, help="save pictures and videos with boxes there")
    add("--json", metavar="FILE", type=Path, help="save all detections; - is standard output")
