"""The model without a neck, against which a comparison shows whether necks matter."""

from __future__ import annotations

from collections.abc import Sequence

from afpn_yolo.compare.plan import CONTROL, Candidate
from afpn_yolo.plugin.lookup import scaled
from afpn_yolo.upstream.scales import read_model_yaml

MODEL = "yolov5-none.yaml"


def with_control(necks: Sequence[Candidate]) -> list[Candidate]:
    """Add a control of each scale, unless one is among the candidates.

    Raises:
        ValueError: When there is none for the backbone of a scale's first candidate.
    """
    result = [*necks]
    for scale in dict.fromkeys(neck.scale for neck in necks):
        group = [neck for neck in necks if neck.scale == scale]
        if all(neck.label != CONTROL for neck in group):
            result.append(control_of(group[0]))
    return result


def control_of(neck: Candidate) -> Candidate:
    """The model with a candidate's backbone and head, and 1x1 convolutions for a neck.

    Raises:
        ValueError: When the candidate is no YAML with the backbone of YOLOv5.
    """
    own = f"name your own, {CONTROL}=MODEL"
    if neck.model.endswith(".pt"):
        raise ValueError(f"--control: there is none for a checkpoint, {neck.model}; {own}")
    content = read_model_yaml(neck.model, neck.scale)
    letter = content.get("scale") or next(iter(content.get("scales") or {}), "")
    model = MODEL if neck.scale else scaled(MODEL, letter) if letter else None
    control = read_model_yaml(model, neck.scale) if model else {}
    if control.get("backbone") != content["backbone"]:
        raise ValueError(
            f"--control: there is one for the backbone of yolov5.yaml, and {neck.model} has "
            f"another; {own}"
        )
    return Candidate(CONTROL, str(model), neck.scale)
