"""What is said of the name of a model that there isn't: the names that are like it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from ultralytics.utils import ROOT

from afpn_yolo.graft import NECKS, grafted_name
from afpn_yolo.plugin.lookup import FAMILY, scaled

ALIKE = 0.8  # difflib's measure: a letter or two of a name


def no_such_model(name: str) -> FileNotFoundError:
    """The error about a model YAML that there isn't, by the name that the user wrote."""
    return FileNotFoundError(f"{name}: no such model YAML{did_you_mean(name)}")


def did_you_mean(name: str) -> str:
    """`; did you mean NAME?`, if a model of that name is much like this one; else nothing.

    A path into a folder is nobody's name of a model.
    """
    found = re.search(r"\d([nslmx])(?=[-.])", name)
    near = get_close_matches(name, _names(found[1] if found else ""), 1, ALIKE)
    return f"; did you mean {near[0]}?" if near and Path(name).name == name else ""


def stock_models() -> list[str]:
    """Stems of Ultralytics' model YAMLs of YOLO families: `yolo11-seg`."""
    files = sorted((ROOT / "cfg" / "models").rglob("*.yaml"))
    return [file.stem for file in files if FAMILY.match(file.stem)]


def _names(scale: str) -> Iterator[str]:
    """Ultralytics' model YAMLs and their grafts, with a scale's letter where names have one."""
    for file in sorted((ROOT / "cfg" / "models").rglob("*.yaml")):
        stem = Path((scaled(file.name, scale) if scale else None) or file.name).stem
        yield f"{stem}.yaml"
        if FAMILY.match(stem):
            yield from (grafted_name(stem, neck) for neck in NECKS)
