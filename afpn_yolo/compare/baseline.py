"""The model without a neck, against which a comparison shows whether necks matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from afpn_yolo.base.errors import quoted
from afpn_yolo.compare.plan import CONTROL, Candidate
from afpn_yolo.graft import graft, grafted_name
from afpn_yolo.plugin.lookup import NECK, scaled, unscaled
from afpn_yolo.upstream.log import announce
from afpn_yolo.upstream.scales import read_model_yaml


def with_control(necks: Sequence[Candidate]) -> list[Candidate]:
    """Add a control of each scale, unless one is among the candidates.

    One that is that model under another label gets the control's: it need not be trained twice.

    Raises:
        ValueError: When there is none for a scale's first candidate.
    """
    result = [*necks]
    for scale in dict.fromkeys(neck.scale for neck in necks):
        group = [neck for neck in necks if neck.scale == scale]
        if any(neck.label == CONTROL for neck in group):
            continue
        control = control_of(group[0])
        own = next((neck for neck in group if _is_model_of(neck, control)), None)
        if own:
            announce(f"{own.name} is the model without a neck: here it is called {CONTROL}")
            result[result.index(own)] = replace(own, label=CONTROL)
        else:
            result.append(control)
    return result


def _is_model_of(neck: Candidate, control: Candidate) -> bool:
    """Whether a YAML builds what the control's builds, whatever its name."""
    if neck.model.endswith(".pt"):
        return False
    one, other = (_read(candidate.model, candidate.scale) for candidate in (neck, control))
    return one.get("head") == other["head"] and same_but_neck(one, other)


def control_of(neck: Candidate) -> Candidate:
    """The model that is a candidate but for its neck, which is 1x1 convolutions.

    Raises:
        ValueError: When the candidate is a checkpoint, or a YAML of which no name gives a control.
    """
    if neck.model.endswith(".pt"):
        raise ValueError(
            f"--control: there is none for a checkpoint, {neck.model}; name your own, "
            f"{CONTROL}=MODEL"
        )
    content = read_model_yaml(neck.model, neck.scale)
    letter = _letter(content)
    for name in _names(neck.model):
        model = name if neck.scale or not letter else scaled(name, letter) or name
        if same_but_neck(_read(model, neck.scale), content):
            return Candidate(CONTROL, model, neck.scale)
    try:
        graft(content, "none")
    except ValueError as error:
        raise ValueError(f"--control: {error}; name your own, {CONTROL}=MODEL") from None
    own = Path(neck.model).with_name(f"{Path(neck.model).stem}-none.yaml")
    raise ValueError(
        f"--control: no name gives the model without a neck of {neck.model}; make it, "
        f"afpn graft {quoted(neck.model)} --neck none -o {quoted(own)}, and name "
        f"it, {CONTROL}={quoted(own)}"
    )


def _names(model: str) -> tuple[str, str]:
    """The control's name where the candidate's is a stock one or a graft's; else YOLOv5's."""
    name = Path(unscaled(Path(model).name))
    return grafted_name(NECK.sub("", name.stem), "none"), "yolov5-none.yaml"


def _read(model: str, scale: str | None) -> Mapping[str, Any]:
    try:
        return read_model_yaml(model, scale)
    except (OSError, ValueError):  # no such model, or nothing that could be grafted
        return {}


def same_but_neck(control: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two models differ in neck only: one backbone at one scale, one head.

    What the heads read is one where both without a neck have the same rows behind the backbone.
    """
    if not control or _frame(control) != _frame(other):
        return False
    try:
        heads = [graft(d, "none").content["head"] for d in (control, other)]
    except ValueError:  # one has no pyramid
        return False
    return bool(heads[0] == heads[1])


def _frame(d: Mapping[str, Any]) -> dict[str, Any]:
    """All that a model is built by, but the rows behind its backbone and what the data decide."""
    loose = {"head", "nc", "names", "scale", "scales", "yaml_file"}
    built = (d.get("scales") or {}).get(_letter(d))
    return {"built": built, **{key: value for key, value in d.items() if key not in loose}}


def _letter(d: Mapping[str, Any]) -> str:
    """The scale that is built: the one that was read from a name, else the first that is listed."""
    return d.get("scale") or next(iter(d.get("scales") or {}), "")
