"""The console command `afpn`: one file a command, and here the arguments that several of them take.

The docstring of a command's module is the help's description. `add_arguments` adds what it takes;
`run` does it and returns the exit code. What is heavy, torch first of all, is imported in `run`, so
that `--help` comes at once. An error of use or input is a `ValueError` or an `OSError` whose
message is the sentence to show. Where Ctrl-C leaves something to go on from, `STOPPED` says so; a
sentence that depends on what was done is the `KeyboardInterrupt`'s own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from afpn_yolo.base.files import write_json
from afpn_yolo.plugin.lookup import FAMILY

SCALES = ("n", "s", "m", "l", "x")
WEIGHTS = (".pt", ".onnx", ".engine", ".torchscript", ".tflite", ".mlpackage")
DATA = (".yaml", ".yml", ".json")


def check_least(args: argparse.Namespace, **least: int) -> None:
    """Raise `ValueError` where an argument is below its least value: `batch=1` is `--batch`."""
    for name, low in least.items():
        value = getattr(args, name)
        for number in value if isinstance(value, list) else [value]:
            if number is not None and number < low:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} must be at least {low}, got {number}")


def model_name(text: str) -> str:
    """The name of a model YAML or another model: `yolov5n-afpn` means `yolov5n-afpn.yaml`."""
    label, equals, name = text.rpartition("=")
    if Path(name).suffix or Path(name).exists() or not FAMILY.match(name):
        return text
    return f"{label}{equals}{name}.yaml"


def check_order(model: Path | str, data: Path | str) -> None:
    """Raise `ValueError` when MODEL and DATA are swapped."""
    if Path(model).suffix in DATA and Path(data).suffix in WEIGHTS:
        raise ValueError(f"MODEL comes first, then DATA: {data} {model}")


class JsonTarget:
    """Where figures go: a file, or standard output for `-`.

    While a command runs that writes them to standard output, `print` writes to standard error.
    """

    def __init__(self, name: str) -> None:
        self.path = None if name == "-" else Path(name)
        self._stream = sys.stdout
        if self.path and not _writable(self.path):  # not after an hour
            raise argparse.ArgumentTypeError(f"{name}: it can't be written there")

    def write(self, content: object) -> None:
        """Write; a file is whole or not written at all. NaN is refused: JSON has none."""
        if self.path:
            write_json(self.path, content)
        else:
            print(json.dumps(content, indent=1, allow_nan=False), file=self._stream)


def add_json(parser: argparse.ArgumentParser, what: str = "the figures") -> None:
    """Add `--json FILE`; `args.json` is a `JsonTarget`, or None."""
    parser.add_argument(
        "--json",
        type=JsonTarget,
        metavar="FILE",
        help=f"write {what} there as JSON, too; - is standard output",
    )


def add_output(parser: argparse.ArgumentParser, suffix: str, what: str) -> None:
    """Add `-o FILE`, whose name must have this suffix; `args.output` is a path, or None."""

    def named(text: str) -> Path:
        if Path(text).suffix != suffix:
            raise argparse.ArgumentTypeError(f"{text}: the name must end in {suffix}")
        return Path(text)

    name = f"FILE{suffix}"
    parser.add_argument("-o", "--output", type=named, metavar=name, help=f"file to write ({what})")


def _writable(path: Path) -> bool:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    return folder.is_dir() and os.access(folder, os.W_OK) and not path.is_dir()
