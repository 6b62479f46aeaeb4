"""The model without a neck, against which a comparison shows whether necks matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from afpn_yolo.compare.plan import CONTROL, Candidate
from afpn_yolo.evaluation.fingerprint import model_digest
from afpn_yolo.graft import graft
from afpn_yolo.plugin.lookup import NECK
from afpn_yolo.upstream.log import announce
from afpn_yolo.upstream.models import read_model_yaml, write_model_yaml


def with_control(necks: Sequence[Candidate], folder: Path) -> list[Candidate]:
    """Add a control of each scale, unless one is among the candidates; its YAML goes to the folder.

    It is the scale's first candidate with 1x1 convolutions for its neck. A candidate that builds
    the same gets the control's label: it need not be trained twice.

    Raises:
        ValueError: When a scale's first candidate is a checkpoint, or can't lose its neck.
    """
    result = [*necks]
    for scale in dict.fromkeys(neck.scale for neck in necks):
        group = [neck for neck in necks if neck.scale == scale]
        if any(neck.label == CONTROL for neck in group):
            continue
        control = _control_of(group[0], folder)
        digest = model_digest(control.model, scale)
        for neck in group:
            if not neck.is_checkpoint and model_digest(neck.model, scale) == digest:
                announce(f"{neck.name} is the model without a neck: here it is called {CONTROL}")
                result[result.index(neck)] = replace(neck, label=CONTROL)
                break
        else:
            result.append(control)
    return result


def _control_of(neck: Candidate, folder: Path) -> Candidate:
    if neck.is_checkpoint:
        raise ValueError(
            f"--control: there is none for a checkpoint, {neck.model}; name your own, "
            f"{CONTROL}=MODEL"
        )
    try:
        content = graft(read_model_yaml(neck.model, neck.scale), "none").content
    except ValueError as error:
        raise ValueError(f"--control: {error}; name your own, {CONTROL}=MODEL") from None
    path = folder / f"{NECK.sub('', Path(neck.model).stem)}-none.yaml"
    write_model_yaml(content, path)
    return Candidate(CONTROL, str(path), neck.scale)
