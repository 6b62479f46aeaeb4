"""Rows of ours in a model YAML: checked before Ultralytics' parser, then completed for it.

The parser's own errors name neither the row nor what is allowed. It alone reads YAMLs of stock
layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import chain, takewhile
from typing import Any

from ultralytics.utils.ops import make_divisible

from afpn_yolo.base.checks import check_int, check_size, is_number
from afpn_yolo.base.errors import short_repr, yaml_name
from afpn_yolo.layers import LAYERS, OPTIONS, AFPNConv, AFPNResidual, Layer, LevelFusion

PREFIX = "AFPN"
PARTS = ("backbone", "head")


def check_parts(d: Mapping[str, Any]) -> bool:
    """Check what Ultralytics reads of a YAML before it parses the rows.

    Returns:
        Whether it names a layer of ours, so that the rest is to be checked, too.

    Raises:
        ValueError: When it does, and has no rows in backbone or head.
    """
    if not any(_is_ours(row) for part in PARTS for row in _rows(d, part)):
        return False
    where = yaml_name(d)
    check_size(where, d)
    for part in PARTS:
        if not isinstance(d.get(part), list) or not d[part]:
            raise ValueError(
                f"{where}: {part} must be a list of rows [from, number, module, args], "
                f"got {short_repr(d.get(part))}"
            )
    return True


def check_model_yaml(d: Mapping[str, Any], known: Callable[[str], bool]) -> None:
    """Raise `ValueError` when a YAML that names a layer of ours can't be parsed.

    Args:
        d: The content of a model YAML.
        known: Whether the parser knows a module of that name.
    """
    if not check_parts(d):
        return
    where = yaml_name(d)
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
    """Whether a row names a layer of ours, be it misspelt or in the wrong place."""
    items = [item for item in row if isinstance(item, str)] if isinstance(row, list) else []
    return any(item.startswith(PREFIX) for item in items)


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
        if not whole or not all(is_number(n) and 0 < n < math.inf for n in numbers):
            raise ValueError(
                f"{where}: scale {short_repr(letter)} must be [depth, width, max_channels], three "
                f"finite numbers above 0, got {short_repr(numbers)}"
            )


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
    layer = LAYERS[name]
    check_int(name, "the row's number", number, 1, None if issubclass(layer, AFPNResidual) else 1)
    if i == 0 and source != -1:  # the parser divides by the row's position
        raise ValueError(f"{name}: the first row takes the image, -1, got {short_repr(source)}")
    fusion = issubclass(layer, LevelFusion)
    if fusion and not isinstance(source, list):
        raise ValueError(
            f"{name} takes a list of sources, finest level first, got {short_repr(source)}"
        )
    for f in source if fusion else [source]:
        check_int(name, "a source", f, -max(i, 1), max(i, 1) - 1)
    _check_arguments(layer, len(source) if fusion else 1, args)


def _check_arguments(layer: Layer, sources: int, args: object) -> None:
    name = layer.__name__
    if not isinstance(args, list):
        raise ValueError(f"{name}: the arguments must be a list, got {short_repr(args)}")
    for value in args:  # the parser would evaluate a string: `n`, for one, is a variable there
        if not (isinstance(value, str) and value in OPTIONS) and not isinstance(value, float):
            check_int(name, "an argument", value)
    numbers, options = _split(args)
    takes_options = issubclass(layer, LevelFusion)
    required = sum(default is None for default in layer.ROW.values())
    if not required <= len(numbers) <= len(layer.ROW) or (options and not takes_options):
        usage = [n if default is None else f"{n}={default}" for n, default in layer.ROW.items()]
        usage += ["options"] * takes_options
        raise ValueError(f"{name} takes the arguments [{', '.join(usage)}], got {short_repr(args)}")
    values = dict(zip(layer.ROW, numbers, strict=False))
    if issubclass(layer, LevelFusion):
        layer.check(sources, values.pop("target"), options)
    share = values.pop("share", 1)
    if not is_number(share) or not 0 < share <= 1:
        raise ValueError(
            f"{name}: the share of the channels must be above 0 and at most 1, "
            f"got {short_repr(share)}"
        )
    for what, value in values.items():
        check_int(name, what, value, 1)


def _split(args: list[Any]) -> tuple[list[Any], tuple[Any, ...]]:
    """A row's arguments: the numbers, then the options."""
    numbers = [*takewhile(lambda arg: not isinstance(arg, str), args)]
    return numbers, tuple(args[len(numbers) :])


def row_arguments(
    layer: Layer,
    d: dict[str, Any],
    i: int,
    ch: Sequence[int],
    width: float,
    max_channels: float,
) -> tuple[int, list[Any]]:
    """Complete one YAML row of ours, as `parse_model` does for its own layers.

    Args:
        layer: The class that the row names.
        d: The model YAML, checked by `check_model_yaml`.
        i: Index of the row in backbone + head.
        ch: Output channels of the rows before it.
        width: The scale's factor for channels.
        max_channels: The scale's limit for channels, before the factor.

    Returns:
        The row's output channels and the layer's constructor arguments.
    """
    source, _, _, args = (d["backbone"] + d["head"])[i]
    numbers, options = _split(args)
    if issubclass(layer, LevelFusion):
        channels = [ch[f] for f in source]
        if options:
            numbers += [*layer.ROW.values()][len(numbers) :]
            numbers.append(options)
        return channels[numbers[0]], [channels, *numbers]
    if issubclass(layer, AFPNConv):
        # The share comes last: a scale's limit is on the width of the level that it is a share of.
        wanted, share = (*numbers, 1)[:2]
        c_out = int(make_divisible(min(wanted, max_channels) * width * share, 8))
        return c_out, [ch[source], c_out]
    return ch[source], [ch[source], *numbers]
