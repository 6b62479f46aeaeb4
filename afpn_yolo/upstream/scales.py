"""The scale of a model YAML: the one that is asked for is the one that is built.

Ultralytics reads a scale from file names of its own pattern only, `yolov5s-own.yaml`. It builds
`own5s.yaml` at the first scale that the file lists, with a line among many that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ultralytics.nn.tasks import yaml_model_load
from ultralytics.utils import YAML

from afpn_yolo.base.files import written_whole
from afpn_yolo.plugin.lookup import scaled, unscaled


def read_model_yaml(model: str, scale: str | None = None) -> dict[str, Any]:
    """Read a model YAML, found as `yolo` finds it, for one of its scales.

    Args:
        model: Its name or path.
        scale: A letter among the file's `scales`; None takes the one in the name, where it has one.

    Returns:
        What `DetectionModel` builds.

    Raises:
        OSError: When there is no such file.
        ValueError: When it is no model YAML, or has no such scale, or its name promises one that
            would not be built.
    """
    content: dict[str, Any] = yaml_model_load(scaled(model, scale) or model if scale else model)
    if missing := [key for key in ("backbone", "head") if not content.get(key)]:
        hint = "; it is a data YAML" if "train" in content or "val" in content else ""
        raise ValueError(f"{model} is no model YAML: it has no {missing[0]}{hint}")
    scales = content.get("scales") or {}
    wanted = scale or (content.get("scale") if scales else None)
    if wanted and wanted not in scales:
        there = f"only {', '.join(map(str, scales))}" if scales else "no scales at all"
        raise ValueError(f"{model} has no scale {wanted}, it has {there}")
    if scale:
        return content | {"scale": scale}
    name = Path(model).name
    lost = not content.get("scale") and unscaled(name) != name
    if lost and len(scales) > 1 and not Path(model).is_file():  # but a twin without the letter
        raise ValueError(
            f"{model}: Ultralytics reads no scale from this name and would build scale "
            f"{next(iter(scales))}; write {Path(model).with_name(unscaled(name))} with --scales"
        )
    return content


def write_model_yaml(content: Mapping[str, Any], path: Path) -> None:
    """Write what `read_model_yaml` gave, without the scale that it was read for."""
    content = {key: value for key, value in content.items() if key not in ("scale", "yaml_file")}
    with written_whole(path) as part:
        # Ultralytics writes YAMLs into files that end in .yaml only.
        YAML.save(part.with_suffix(".yaml"), content)
        part.with_suffix(".yaml").replace(part)


def trainable_file(model: str, scale: str | None, folder: Path) -> str:
    """What Ultralytics must be asked for, to train a model YAML at a scale.

    That is a name of its pattern or, where the user's own name doesn't follow it, a copy in
    `folder` under one that does.

    Raises:
        OSError, ValueError: As `read_model_yaml`.
    """
    if not scale:
        return model
    content = read_model_yaml(model, scale)
    if name := scaled(model, scale):
        return name
    path = folder / f"yolo0{scale}-{Path(model).stem}.yaml"
    write_model_yaml(content, path)
    return str(path)
