"""Mistakes that users make, and the messages they get: the table `bad_input.yaml`.

In the YAML a case has `mistake`, `command`, `says` (`…` stands for anything), and as needed:
`files`, what is different in the folder (a text, an image, or null for a file that is removed);
`row`, row 4 of a model YAML, instead of `files` and `command`; `who` says it; the exit `code` (2);
`absent`, a package that is not installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

HERE = Path(__file__).parent
OURS = "afpn_yolo"
Content = str | np.ndarray | None
BACKBONE = """\
nc: 1
scales:
  n: [0.33, 0.25, 1024]
backbone:
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [256, 3, 2]]
"""
SHORT = {
    "$BACKBONE\n": BACKBONE,
    "$DETECT\n": "  - [[2, 3], 1, Detect, [nc]]\n",
    "$DATA\n": "path: .\ntrain: images/val\nval: images/val\n",
    "$NAMES\n": "names: [person, bus, tie, never there]\n",
    "$BOMB\n": "".join(
        f"lol{i}: &lol{i} [{', '.join([f'*lol{i - 1}' if i else '1'] * 10)}]\n" for i in range(9)
    ),
    "$HALF": "Either the row's sources are not consecutive levels, finest first, or the image's "
    "sides are no multiples of the model's largest stride (32 for a neck that ends at P5)",
}


@dataclass(frozen=True)
class Case:
    """A mistake; the module's first lines say what the fields mean."""

    group: str
    mistake: str
    command: str
    says: str
    files: dict[str, Content] = field(default_factory=dict)
    who: str = OURS
    code: int = 2
    absent: str | None = None


def spelt_out(text: str) -> str:
    """A text with all that `SHORT` stands for."""
    for short, long in SHORT.items():
        text = text.replace(short, long)
    return text


def load() -> list[Case]:
    """All cases, in the order of the file."""
    groups = yaml.safe_load((HERE / "bad_input.yaml").read_text(encoding="utf-8"))
    return [_case(group, entry) for group, entries in groups.items() for entry in entries]


def _case(group: str, entry: dict[str, Any]) -> Case:
    entry = dict(entry)
    if "row" in entry:
        content = f"$BACKBONE\nhead:\n  - {entry.pop('row')}\n$DETECT\n"
        entry |= {"files": {"yolo3n.yaml": content}, "command": 'YOLO("yolo3n.yaml")'}
    files = {name: _content(value) for name, value in entry.pop("files", {}).items()}
    return Case(group, files=files, **{**entry, "says": spelt_out(entry["says"])})


def _content(value: str | dict[str, Any] | None) -> Content:
    if isinstance(value, dict):
        return np.full(value["image"], 99, value["type"])
    return value if value is None else spelt_out(value)
