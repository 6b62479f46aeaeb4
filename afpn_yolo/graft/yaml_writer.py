"""Model YAMLs as text: rows numbered and commented."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from afpn_yolo.graft.necks import Row

NOTES = {
    "nc": "number of classes; a data set's own number replaces it",
    "kpt_shape": "number of keypoints, and of values for each: 2 for x, y; 3 for x, y, visible",
    "end2end": "no NMS behind the head",
    "reg_max": "bins of a box's side",
    "activation": "of all convolutions that name none",
}
ABOUT_ROWS = "A row: [from, number, module, args]; `from` counts rows from 0, -1 is the row before."
ABOUT_WIDTHS = "Channels are those of width 1.00; Ultralytics multiplies them by the scale's width."
ABOUT_SHARES = (
    "AFPNConv [256, 0.25] has a quarter of the channels that [256] has at the same scale."
)


def flow(value: Any) -> str:
    """A value in YAML's one-line form."""
    width = float("inf")
    listed = yaml.safe_dump([value], default_flow_style=True, width=width, allow_unicode=True)
    return str(listed).strip()[1:-1]


def page(
    d: Mapping[str, Any], stem: str, about: str, backbone: Sequence[Row], head: Sequence[Row]
) -> str:
    """The text of a model YAML.

    Args:
        d: Its content; the rows are taken from `backbone` and `head`.
        stem: Of the stock model's file, without the scale letter.
        about: What the neck is.
        backbone: Its rows.
        head: The rows of neck and head.
    """
    shares = any(row.content[2] == "AFPNConv" and len(row.content[3]) > 1 for row in head)
    text = _comment(f"{re.sub('^yolo', 'YOLO', stem)} {about}") + _comment(_scale_line(d, stem))
    text += "#\n" + _comment(ABOUT_ROWS)
    text += _comment(ABOUT_WIDTHS * ("scales" in d)) + _comment(ABOUT_SHARES * shares) + "\n"
    text += "".join(_settings(d)) + "\n"
    text += _comment(
        f"The backbone of {stem}.yaml, unchanged: weights trained there fit rows "
        f"0-{len(backbone) - 1}."
    )
    text += "backbone:\n" + "".join(_rows(backbone, 0))
    return text + "\nhead:\n" + "".join(_rows(head, len(backbone)))


def _scale_line(d: Mapping[str, Any], stem: str) -> str:
    """How a scale is asked for, where the file's name has a place for its letter."""
    digits = re.match(r"yolov?(\d+)", stem)
    letters = [*d.get("scales", ())]
    if not digits or len(letters) < 2:
        return ""
    letter = letters[1]
    name = PurePath(str(d["yaml_file"])).stem
    scaled = name.replace(digits[0], digits[0] + letter, 1)
    return (
        f"The scale is the letter behind the {digits[1]}: `yolo train model={scaled}.yaml` "
        f"builds scale {letter}."
    )


def _comment(text: str, indent: str = "") -> str:
    lines = [
        line
        for part in text.splitlines()
        for line in textwrap.wrap(part, 98 - len(indent), break_on_hyphens=False)
    ]
    return "".join(f"{indent}# {line}\n" for line in lines)


def _settings(d: Mapping[str, Any]) -> Iterator[str]:
    for key, value in d.items():
        if key in ("backbone", "head", "scale", "yaml_file"):
            continue
        if key == "scales":
            yield "scales: # [depth, width, max_channels]\n"
            for letter, (depth, width, most) in value.items():
                yield f"  {flow(letter)}: [{_factor(depth)}, {_factor(width)}, {most}]\n"
        else:
            note = f" # {NOTES[key]}" if key in NOTES else ""
            yield f"{key}: {flow(value)}{note}\n"


def _factor(value: float) -> str:
    """Two decimals, as Ultralytics writes them, where they are enough."""
    return f"{value:.2f}" if round(value, 2) == value else str(value)


def _rows(rows: Sequence[Row], first: int) -> Iterator[str]:
    for i, row in enumerate(rows, first):
        if row.heading and i > first:
            yield "\n"
        yield _comment(row.heading, "  ")
        yield f"  - {flow(row.content)} # {i}{row.note}\n"
