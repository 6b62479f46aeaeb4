"""Models by name: a neck put into a stock YAML while it is loaded, and names like a wrong one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import ultralytics
from ultralytics.utils import ROOT

from afpn_yolo.graft import NECKS, graft, grafted_name, neck_word
from afpn_yolo.plugin.lookup import FAMILY, Graft, scaled

ALIKE = 0.8  # difflib's measure: a letter or two of a name


def grafted(asked: Graft, name: str, load: Callable[[str | Path], Any]) -> dict[str, Any]:
    """The content of a model YAML that exists by its name only.

    Args:
        asked: What the name asks for.
        name: The name, as the user wrote it.
        load: Gives the content of a stock model YAML, its scale among it.

    Raises:
        FileNotFoundError: When the installed Ultralytics has no such stock model.
        ValueError: When no neck can be put into it.
    """
    for candidate in asked.stock:
        try:
            stock = load(candidate)
            break
        except FileNotFoundError:
            continue
    else:
        necks = ", ".join(map(neck_word, NECKS))
        raise FileNotFoundError(
            f"{name}: ultralytics {ultralytics.__version__} has no {asked.stock[0]} to put a neck "
            f"into; in names, necks are {necks}{did_you_mean(name)}"
        )
    try:
        return {**graft(stock, asked.neck).content, "yaml_file": name}
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def did_you_mean(name: str) -> str:
    """`; did you mean NAME?`, if there is a model of a similar name; "" for paths into folders."""
    letter = re.search(r"\d([nslmx])(?=[-.])", name)
    near = get_close_matches(name, _names(letter[1] if letter else ""), 1, ALIKE)
    return f"; did you mean {near[0]}?" if near and Path(name).name == name else ""


def _stock_files() -> list[Path]:
    return sorted((ROOT / "cfg" / "models").rglob("*.yaml"))


def stock_models() -> list[str]:
    """Stems of Ultralytics' model YAMLs of YOLO families: `yolo11-seg`."""
    return [file.stem for file in _stock_files() if FAMILY.match(file.stem)]


def _names(scale: str) -> Iterator[str]:
    """Ultralytics' model YAMLs and their grafts, with a scale's letter where names have one."""
    for file in _stock_files():
        stem = Path((scaled(file.name, scale) if scale else None) or file.name).stem
        yield f"{stem}.yaml"
        if FAMILY.match(stem):
            yield from (grafted_name(stem, neck) for neck in NECKS)
