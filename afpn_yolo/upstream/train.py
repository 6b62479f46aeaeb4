"""Ultralytics' trainer: its arguments, and runs that start or go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ultralytics import YOLO
from ultralytics.cfg import check_cfg, check_dict_alignment, parse_key_value_pair
from ultralytics.nn.tasks import torch_safe_load
from ultralytics.utils import DEFAULT_CFG_DICT, YAML
from ultralytics.utils.torch_utils import get_flops

from afpn_yolo import __version__
from afpn_yolo.base import installed
from afpn_yolo.base.files import written_whole
from afpn_yolo.upstream.data import images_of, open_data
from afpn_yolo.upstream.log import one_line, quiet, warn
from afpn_yolo.upstream.models import load_model


def train(
    model: str,
    folder: Path,
    arguments: Mapping[str, Any],
    device: str | None,
    after_epoch: Callable[[], object] | None = None,
) -> Path:
    """Train to the end, from wherever an earlier call was stopped.

    Args:
        model: Model YAML or `.pt`.
        folder: Of the run.
        arguments: Arguments of `YOLO.train`; a run that is resumed keeps its own.
        device: As `yolo` takes it.
        after_epoch: Called after each epoch; not where several GPUs train in processes of their
            own.

    Returns:
        The checkpoint after the last epoch.
    """
    last = folder / "weights" / "last.pt"
    whole = resumable(last.parent)
    for checkpoint in (last, *whole):
        if checkpoint.is_file() and _progress(checkpoint)[1]:  # else it would be downloaded
            return checkpoint
    if last.exists() and not whole:
        warn(f"{last} is damaged, and there is no other checkpoint: this run starts again")
    place = {"project": str(folder.parent.resolve()), "name": folder.name, "exist_ok": True}
    start = {"resume": True} if whole else {**arguments, **place}
    yolo = YOLO(whole[0] if whole else model, task="detect")
    if after_epoch:
        yolo.add_callback("on_train_epoch_end", lambda trainer: after_epoch())
    yolo.train(**start, device=device)
    return last


def resumable(folder: Path) -> list[Path]:
    """The checkpoints in a folder that a training can go on from, the furthest first.

    A process that is killed while Ultralytics writes one file leaves the others whole.
    """
    epochs = {path: _progress(path)[0] for path in folder.glob("*.pt")}
    whole = [path for path, epoch in epochs.items() if epoch >= 0]
    return sorted(whole, key=lambda path: (-epochs[path], path.name != "last.pt"))


def _progress(checkpoint: Path) -> tuple[int, bool]:
    """The epoch of a checkpoint, counted from 0, and whether the last epoch is over.

    The last step of a training sets the epoch to -1. (-1, False) for damaged files.
    """
    try:
        content = torch_safe_load(checkpoint)[0]  # it heeds ULTRALYTICS_SAFE_LOAD
        epoch = int(content["epoch"])
        return epoch, epoch == -1 or epoch + 1 >= content["train_args"]["epochs"]
    except Exception:  # what is no checkpoint fails in many ways
        return -1, False


def read_settings(words: Sequence[str], option: str) -> dict[str, Any]:
    """Read `KEY=VALUE` as `yolo` does: `lr0=1e-3` is a number, `cache=None` is None.

    Args:
        words: `KEY=VALUE` each.
        option: What messages call the place where they were written: `--set`.

    Raises:
        ValueError: When one is no argument of `yolo`, or its value is of a wrong type.
    """
    result: dict[str, Any] = {}
    for word in words:
        if "=" not in word:
            raise ValueError(f"{option} {word}: expected KEY=VALUE")
        try:
            key, value = parse_key_value_pair(word)
            one = {key: value}
            with quiet():  # else the whole help of `yolo` comes first
                check_dict_alignment(DEFAULT_CFG_DICT, one)
            check_cfg(one)
        except (AssertionError, NameError, SyntaxError, TypeError, ValueError) as error:
            raise ValueError(f"{option} {word}: {one_line(error)}") from None
        result |= one
    return result


def training_versions() -> dict[str, str]:
    """Versions of what a training's result depends on."""
    # As an evaluation's report has them: `torch.__version__` also names the build, `+cu130`.
    return {"afpn_yolo": __version__, **installed(("ultralytics", "torch", "torchvision"))}


def spread_evenly(data: str, fraction: int | float, path: Path) -> str:
    """Write a data YAML with a part of a data set's training images.

    They are spread evenly over the sorted list. Ultralytics' own `fraction=` takes the first ones,
    which loses classes where the files are sorted by class.

    Args:
        data: A data YAML, as `yolo` takes it.
        fraction: Share of the training images, or their number if it is an int.
        path: The data YAML to write; a list of images is written beside it.

    Raises:
        EvaluationError: When the data can't be opened.
    """
    content = open_data(data)
    images = sorted(images_of(data, "train", content))
    count = fraction if isinstance(fraction, int) else max(1, round(fraction * len(images)))
    count = min(count, len(images))
    with written_whole(path.with_suffix(".txt")) as file:
        lines = (f"{images[i * len(images) // count]}\n" for i in range(count))
        file.write_text("".join(lines), encoding="utf-8")
    same = ("val", "test", "names", "channels", "kpt_shape")
    part = {key: content[key] for key in same if content.get(key)}
    YAML.save(path, part | {"train": str(path.with_suffix(".txt").resolve())})
    return str(path.resolve())


def cost(checkpoint: Path, imgsz: int) -> tuple[int, float]:
    """Parameters and GFLOPs (two per multiply-add, at imgsz x imgsz) of a model before fusing."""
    model = load_model(checkpoint)
    return sum(p.numel() for p in model.parameters()), float(get_flops(model, imgsz))
