"""Where the model and data set YAMLs that this package ships lie, and which name means which."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent


def shipped(kind: str, name: str) -> Path | None:
    """Find a shipped file.

    Args:
        kind: `models` or `data`.
        name: File name without a folder.

    Returns:
        Its path, or None where we ship no such file.
    """
    # Inside the package after `pip install`, beside it in a checkout (editable install).
    for folder in (HERE / kind, HERE.parent / kind):
        path = folder / name
        if path.is_file():
            return path
    return None


def unscaled(name: str) -> str:
    """Take the scale letter out of a file name: `yolov5s-afpn.yaml` -> `yolov5-afpn.yaml`.

    Ultralytics applies the same pattern to the whole path and so mangles a folder called `own3n`;
    pass the file's name alone.
    """
    return re.sub(r"(\d+)([nslmx])(.+)?$", r"\1\3", name)


def resolve(kind: str, file: str | Path, certain: bool = True) -> Path | None:
    """Find what a user's name means, as far as that is for us to say.

    The order: the path as it stands; its unscaled twin in the same folder; the file that we ship,
    for `NAME` or `kind/NAME` only, so that a path into another folder is never answered by ours.

    Args:
        kind: `models` or `data`; only models have scales.
        file: What the user wrote.
        certain: False when the caller will ask again under the name with its scale letter: then a
            scaled file of the user's own, lying where ours would be put, must not be passed over.

    Returns:
        A path that exists, or None: Ultralytics' own search goes on.
    """
    path = Path(file)
    if path.is_file():
        return path
    twin = unscaled(path.name) if kind == "models" else path.name
    if twin != path.name and path.with_name(twin).is_file():
        return path.with_name(twin)
    if path.parts not in ((path.name,), (kind, path.name)):
        return None
    if not certain and any(
        unscaled(other.name) == path.name != other.name for other in path.parent.glob("*.yaml")
    ):
        return None
    return shipped(kind, twin)
