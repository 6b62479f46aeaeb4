"""Checks of a model YAML as a whole, before Ultralytics' parser takes it apart.

The parser meets a row of three items, or a scale that isn't there, with a `KeyError` or a
`TypeError` that names neither row nor remedy. A YAML that names a layer of ours is looked through
first. YAMLs of stock layers only are left to Ultralytics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from itertools import chain
from typing import Any

from afpn_yolo.base.checks import check_int, check_size
from afpn_yolo.base.errors import short_repr, yaml_name
from afpn_yolo.layers import LAYERS, OPTIONS

PREFIX = "AFPN"
PARTS = ("backbone", "head")


def check_model_yaml(d: Mapping[str, Any], known: Callable[[str], bool]) -> None:
    """Raise `ValueError` when a YAML that names a layer of ours can't be parsed.

    What a row of ours says is checked when it is built; here, whether it is a row at all.

    Args:
        d: The content of a model YAML.
        known: Whether the parser knows a module of that name.
    """
    if not any(_is_ours(row) for part in PARTS for row in _rows(d, part)):
        return
    where = yaml_name(d)
    check_size(where, d)
    for part in PARTS:
        if not isinstance(d.get(part), list) or not d[part]:
            raise ValueError(
                f"{where}: {part} must be a list of rows [from, number, module, args], "
                f"got {short_repr(d.get(part))}"
            )
    if "nc" in d:
        check_int(where, "nc, the number of classes,", d["nc"], 1)
    _check_scale(where, d)
    for i, row in enumerate(chain(*(_rows(d, part) for part in PARTS))):
        try:
            _check_row(i, row, known)
        except ValueError as error:
            raise ValueError(f"{where}, row {i} {short_repr(row)}: {error}") from None


def _rows(d: Mapping[str, Any], part: str) -> Iterable[object]:
    rows = d.get(part)
    return rows if isinstance(rows, list) else ()


def _is_ours(row: object) -> bool:
    """Whether a row names a layer of ours, be it misspelt or at the wrong place."""
    items = [item for item in row if isinstance(item, str)] if isinstance(row, list) else []
    return any(item in LAYERS or item.startswith(PREFIX) for item in items)


def _check_scale(where: str, d: Mapping[str, Any]) -> None:
    scales, scale = d.get("scales"), d.get("scale")
    if not scales:
        return
    if not isinstance(scales, dict):
        raise ValueError(f"{where}: scales must be letters with [depth, width, max_channels]")
    if scale and scale not in scales:
        raise ValueError(
            f"{where}: there is no scale {short_repr(scale)} among its scales, which are "
            f"{', '.join(map(str, scales))}"
        )
    for letter, numbers in scales.items():
        whole = isinstance(numbers, list) and len(numbers) == 3
        if not whole or not all(_is_positive(number) for number in numbers):
            raise ValueError(
                f"{where}: scale {short_repr(letter)} must be [depth, width, max_channels], three "
                f"finite numbers above 0, got {short_repr(numbers)}"
            )


def _is_positive(number: object) -> bool:
    return type(number) in (int, float) and 0 < number < math.inf  # type: ignore[operator]


def _check_row(i: int, row: object, known: Callable[[str], bool]) -> None:
    if not isinstance(row, list) or len(row) != 4:
        count = f"{len(row)} items" if isinstance(row, list) else "no list"
        raise ValueError(f"a row is [from, number, module, args], this is {count}")
    source, number, name, args = row
    if not isinstance(name, str):
        raise ValueError(f"the module must be a name, got {short_repr(name)}")
    if not known(name):
        near = get_close_matches(name, LAYERS, 1)
        hint = f"did you mean {near[0]}?" if near else f"ours are {', '.join(LAYERS)}"
        raise ValueError(f"there is no module {name}; {hint}")
    if name not in LAYERS:
        return
    check_int(name, "the row's number", number)
    if not isinstance(args, list):
        raise ValueError(f"{name}: the arguments must be a list, got {short_repr(args)}")
    for value in args:  # the parser would evaluate a string: `n`, say, is a variable of its own
        option = isinstance(value, str) and value in OPTIONS
        if not option and not isinstance(value, float):  # which the layer looks at
            check_int(name, "an argument", value)
    if i == 0 and source != -1:  # the parser divides by the row's position
        raise ValueError(f"{name}: the first row takes the image, -1, got {short_repr(source)}")
