"""AFPN, the asymptotic feature pyramid network, for Ultralytics YOLO.

Training, validation and export are Ultralytics' own: `yolo train model=yolov5n-afpn.yaml data=...`.
These commands are for what AFPN adds. Arguments can be written as for `yolo`, too: `imgsz=320` is
`--imgsz 320`, `quick=True` is `--quick`, `seeds=0,1,2` is `--seeds 0 1 2`.
"""

from __future__ import annotations

import argparse
import re
import sys
from contextlib import nullcontext, redirect_stdout
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from afpn_yolo import __version__
from afpn_yolo.cli import JsonTarget, model_name
from afpn_yolo.edge.command import ended

COMMANDS = {
    "models": "list the models that can be built, with parameters and GFLOPs",
    "evaluate": "measure a detector by COCO's metrics, on YOLO's or COCO's data",
    "compare": "train and evaluate necks under equal conditions",
    "train-rcnn": "train Faster R-CNN or Dynamic R-CNN with AFPN",
    "export-rcnn": "export a detector of train-rcnn to ONNX for detect",
    "distill": "teach a fresh neck to give what a trained stock model's gives",
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
OF_YOLO = ("train", "val", "predict", "export", "track", "tune")
ENDS = """\
exit codes:
  0    everything succeeded
  1    a part failed; the rest was done
  2    wrong arguments or input, named by one sentence on standard error
  130  stopped by Ctrl-C
  141  broken pipe, as behind `| head`

`afpn COMMAND --help` says more about a command. `python -m afpn_yolo` is the same as `afpn`.
"""
KEY = re.compile(r"[A-Za-z][\w-]*")
MODELS = (".yaml", ".yml", ".pt", ".json")
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")


class Parser(argparse.ArgumentParser):
    """Takes `key=value` words beside GNU options.

    A positional argument that is given as `key=value` is declared as an option, so that the others
    keep their places.
    """

    keyed: frozenset[str] = frozenset()
    """The keys among the words; set before arguments are added."""

    def __init__(self, **options: Any) -> None:
        options["formatter_class"] = argparse.RawDescriptionHelpFormatter
        super().__init__(**options, allow_abbrev=False)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """As in argparse."""
        if names and names[0] in self.keyed:
            options["required"] = options.get("nargs") not in ("*", "?")
            names = (f"--{names[0]}",)
        return super().add_argument(*names, **options)

    def print_help(self, file: Any = None) -> None:
        """As in argparse, which ignores a broken pipe."""
        print(self.format_help(), end="", file=file)

    def rewritten(self, words: list[str]) -> list[str]:
        """The words with options for all that is `key=value`; `LABEL=MODEL` and the like stay.

        Raises:
            ValueError: When there is no argument of that name, or no such value.
        """
        plain: list[str] = []
        options: list[str] = []  # at the end, where their values run into no positional argument
        actions = {_key((a.option_strings or [a.dest])[-1]): a for a in self._actions[1:]}
        labels = any("=" in str(a.metavar) for a in self._actions if not a.option_strings)
        free = False  # behind `--set`, whose values have the form of ours
        for word in words:
            key, _, value = word.partition("=")
            if word.startswith("-"):
                free = "=" in str(getattr(actions.get(_key(key)), "metavar", ""))
            if free or not is_keyed(word):
                plain.append(word)
            elif _key(key) in actions:
                options += _option(actions[_key(key)], key, value)
            elif labels and Path(model_name(word)).suffix in MODELS:
                plain.append(word)
            else:
                near = get_close_matches(key, actions, 1)
                hint = f"did you mean {near[0]}=?" if near else f"there are {', '.join(actions)}"
                raise ValueError(f"{word}: {self.prog} has no argument {key}; {hint}")
        return plain + options


def is_keyed(word: str) -> bool:
    """Whether a word has the form `key=value`, and isn't a file's name."""
    key, equals, _ = word.partition("=")
    return bool(equals and KEY.fullmatch(key)) and not Path(word).exists()


def _key(word: str) -> str:
    return word.lstrip("-").replace("-", "_")


def _option(action: argparse.Action, key: str, value: str) -> list[str]:
    """An option and its values, as argparse takes them."""
    option = action.option_strings[-1]
    if action.nargs == 0:
        if value.lower() not in (*TRUE, *FALSE):
            raise ValueError(f"{key}={value}: expected True or False")
        return [option] if value.lower() in TRUE else []
    if action.nargs is None or Path(value).exists():
        return [f"{option}={value}"] if action.nargs is None else [option, value]
    return [option, *filter(None, re.split(r"[,\s]+", value.strip("[]()")))]


def main(argv: list[str] | None = None) -> int:
    """Run `afpn` with these words, or with those of the command line; returns the exit code."""
    name, *words = (sys.argv[1:] if argv is None else argv) or ["help"]
    name = {"help": "--help", "version": "--version"}.get(name, name)
    module = module_of(name) if name in COMMANDS else None
    return ended(lambda: _run(module, name, words), getattr(module, "STOPPED", "stopped"))


def module_of(name: str) -> Any:
    """The module of a command, see `afpn_yolo.cli`. That of `detect` runs without this package."""
    here = f"afpn_yolo.cli.{name.replace('-', '_')}"
    return import_module("afpn_yolo.edge.__main__" if name == "detect" else here)


def _run(module: Any, name: str, words: list[str]) -> int:
    parser = Parser(prog="afpn", description=__doc__, epilog=ENDS)
    parser.add_argument("--version", "-V", action="version", version=f"afpn_yolo {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    listed = {each: commands.add_parser(each, help=about) for each, about in COMMANDS.items()}
    if module is None:
        if not name.startswith("-"):
            raise ValueError(unknown(name, words))
        parser.parse_args([name])
        return 0
    command = listed[name]
    command.description = module.__doc__
    command.keyed = frozenset(word.partition("=")[0] for word in words if is_keyed(word))
    module.add_arguments(command)
    args = parser.parse_args([name, *command.rewritten(words)])
    target = getattr(args, "json", None)
    apart = isinstance(target, JsonTarget) and not target.path
    with redirect_stdout(sys.stderr) if apart else nullcontext():
        return int(module.run(args))


def unknown(name: str, words: list[str]) -> str:
    """The sentence about a word that is no command."""
    if name in OF_YOLO:
        return f"{name} is Ultralytics' own command: {' '.join(['yolo', name, *words])}"
    near = get_close_matches(name.lower().replace("_", "-"), COMMANDS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
    return f"no command {name!r}; {hint}"
