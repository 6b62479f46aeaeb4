"""Which YAML a name means: a user's, one that we ship, or a stock one to put a neck into."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shipped(kind: str, name: str) -> Path | None:
    """The path of a file that we ship; `kind`, its folder, is `models` or `data`."""
    # Inside the package after `pip install`, beside it in a checkout (editable install).
    for folder in (PACKAGE / kind, PACKAGE.parent / kind):
        path = folder / name
        if os.path.isfile(path):  # Path.is_file raises where a folder may not be read
            return path
    return None


def unscaled(name: str) -> str:
    """Take the scale letter out of a file name: `yolov5s-afpn.yaml` -> `yolov5-afpn.yaml`."""
    # Ultralytics applies the same pattern to whole paths, and so mangles a folder called `own3n`.
    return re.sub(r"(\d+)([nslmx])(.+)?$", r"\1\3", name)


def scaled(model: str, scale: str) -> str | None:
    """Put a scale letter where Ultralytics reads it: `yolov5-afpn.yaml` -> `yolov5s-afpn.yaml`.

    None where it would read no scale in such a name, or not find the file again.
    """
    path = Path(model)
    name = re.sub(r"(yolo(?:e-)?v?\d+)(?=[-._])", rf"\1{scale}", path.name, count=1)
    if name == path.name or unscaled(name) != path.name:
        return None
    return str(path.with_name(name))


def resolve(kind: str, file: str | Path) -> Path | None:
    """Find what a user's name means, as far as that is for us to say.

    The order: the path as it stands; its unscaled twin in the same folder; the file that we ship,
    for `NAME` or `kind/NAME` only, so that a path into another folder is never answered by ours.

    Args:
        kind: `models` or `data`; only models have scales.
        file: What the user wrote.

    Returns:
        A path that exists, or None: Ultralytics' own search goes on.
    """
    path = Path(file)
    if os.path.isfile(path):
        return path
    twin = unscaled(path.name) if kind == "models" else path.name
    if twin != path.name and os.path.isfile(path.with_name(twin)):
        return path.with_name(twin)
    if path.parts not in ((path.name,), (kind, path.name)):
        return None
    return shipped(kind, twin)


NECK = re.compile(r"-(?:afpn(?:-(lite-sum|lite|hybrid|sum|concat|none))?|(none))(?=-|$)")
FAMILY = re.compile(r"yolov?\d+[a-z]?6?(?=-|$)")


@dataclass(frozen=True)
class Graft:
    """What a name such as `yolo11n-afpn-lite-seg.yaml` asks for: stock YAMLs and a kind of neck.

    There are several stock names, since the words behind the family's may stand in any order.
    """

    stock: tuple[str, ...]
    neck: str


def named_graft(file: str | Path) -> Graft | None:
    """Read the name of a model that is grafted, if a name is one: no folder but `models/`."""
    path = Path(file)
    stem, necks = path.stem, [*NECK.finditer(path.stem)]
    if path.parts not in ((path.name,), ("models", path.name)) or len(necks) != 1:
        return None
    if path.suffix not in (".yaml", ".yml") or not FAMILY.match(stem):
        return None
    (found,) = necks
    family, *rest = (stem[: found.start()] + stem[found.end() :]).split("-")
    names = ("-".join((family, *words)) for words in permutations(rest))
    return Graft(tuple(f"{name}.yaml" for name in names), found[1] or found[2] or "afpn")
