"""AFPN, the asymptotic feature pyramid network, for Ultralytics YOLO.

Training, validation and export are Ultralytics' own, `yolo train model=yolov5n-afpn.yaml data=...`;
what AFPN adds to them is here.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from difflib import get_close_matches
from importlib import import_module
from typing import cast

from afpn_yolo import __version__
from afpn_yolo.cli.arguments import JsonTarget
from afpn_yolo.cli.command import Command, complain, ended

COMMANDS = {
    "evaluate": "measure a detector by COCO's metrics, on YOLO's or COCO's data",
    "compare": "train and evaluate necks under equal conditions",
    "train-rcnn": "train Faster R-CNN or Dynamic R-CNN with AFPN",
    "export-rcnn": "turn a detector of train-rcnn into ONNX for detect",
    "distill": "give AFPN's neck a head start from a trained stock model",
    "graft": "put an AFPN neck into a stock model YAML, or one of your own",
    "quantize": "turn an ONNX model into INT8, calibrated on your images",
    "benchmark": "measure time, memory and size of necks where they run",
    "fusion": "draw how much each level counts in each fusion of a model",
    "draw-neck": "draw the neck of a model YAML",
    "convert": "turn a checkpoint of the AFPN authors' MMYOLO code into a .pt",
    "detect": "detect objects with an ONNX model, without torch",
    "shapes": "draw a small data set for detection, segmentation, pose or rotated boxes",
    "env": "show versions and runtimes, for a bug report",
}
"""The file of each is `afpn_yolo/cli/NAME.py`, with `_` for `-`, and has the form of `Command`."""

ENDS = """\
exit codes:
  0    all was done
  1    a part of it failed; the rest was done
  2    wrong use or input, which one sentence on standard error names
  130  stopped by Ctrl-C
  141  nobody read the output on, as behind `| head`

`afpn COMMAND --help` says more about a command. `python -m afpn_yolo` is the same as `afpn`.
"""


def main(argv: list[str] | None = None) -> int:
    """Run `afpn` with these words, or with those of the command line; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        name, *rest = words
        module = import_module(f"afpn_yolo.cli.{name.replace('-', '_')}")
        stopped = getattr(module, "STOPPED", "stopped")
        return ended(lambda: call(name, cast(Command, module), rest), stopped)
    return ended(lambda: _about(words[0] if words else "--help"))


def call(name: str, command: Command, words: list[str]) -> int:
    """Run one command with its words; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"afpn {name}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    args = parser.parse_args(words)
    target = getattr(args, "json", None)
    if isinstance(target, JsonTarget) and target.path is None:
        with redirect_stdout(sys.stderr):
            return command.run(args)
    return command.run(args)


def _about(word: str) -> int:
    """Answer what is asked of `afpn` itself."""
    if word in ("--version", "-V", "version"):
        print(f"afpn_yolo {__version__}")
    elif word in ("--help", "-h", "help"):
        print(overview(), end="")
    else:
        return complain(unknown(word))
    return 0


def overview() -> str:
    """What `afpn --help` prints."""
    width = max(map(len, COMMANDS))
    listed = "".join(f"  {name:{width}}  {summary}\n" for name, summary in COMMANDS.items())
    usage = "usage: afpn COMMAND ...\n       afpn --version\n"
    return f"{usage}\n{__doc__}\ncommands:\n{listed}\n{ENDS}"


def unknown(name: str) -> str:
    """The sentence about a word that is no command."""
    close = get_close_matches(name.lower().replace("_", "-"), COMMANDS, n=1)
    if close:
        return f"no command {name!r}; did you mean {close[0]!r}?"
    return f"no command {name!r}; there are {', '.join(COMMANDS)}"


if __name__ == "__main__":
    sys.exit(main())
