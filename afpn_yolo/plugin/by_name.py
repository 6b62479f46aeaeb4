"""Models asked for by the name of a graft: no file, a neck put in while they are loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ultralytics

from afpn_yolo.graft import NECKS, graft, neck_word
from afpn_yolo.plugin.lookup import Graft
from afpn_yolo.plugin.suggest import did_you_mean


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
    stock = _first(asked, name, load)
    try:
        content = graft(stock, asked.neck).content
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return {**content, "yaml_file": name}


def _first(asked: Graft, name: str, load: Callable[[str | Path], Any]) -> dict[str, Any]:
    for stock in asked.stock:
        try:
            content = load(stock)
        except FileNotFoundError:
            continue
        if isinstance(content, dict):
            return content
    necks = ", ".join(map(neck_word, NECKS))
    raise FileNotFoundError(
        f"{name}: ultralytics {ultralytics.__version__} has no {asked.stock[0]} to put a neck "
        f"into; in names, necks are {necks}{did_you_mean(name)}"
    )
