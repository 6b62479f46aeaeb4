"""From a row of a model YAML to a layer's arguments: what the parser's branch for ours calls."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, cast

from ultralytics.utils.ops import make_divisible

from afpn_yolo.base.checks import check_int
from afpn_yolo.base.errors import short_repr, yaml_name
from afpn_yolo.layers import AFPNConv, AFPNResidual, LevelFusion

Layer = type[LevelFusion] | type[AFPNConv] | type[AFPNResidual]


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
        d: The model YAML.
        i: Index of the row in backbone + head.
        ch: Output channels of the rows before it.
        width: The scale's factor for channels.
        max_channels: The scale's limit for channels, before the factor.

    Returns:
        The row's output channels and the layer's constructor arguments.

    Raises:
        ValueError: When the row is wrong; it names the row and what is wrong with it.
    """
    source, repeats, name, args = (d["backbone"] + d["head"])[i]
    try:
        # Rows before depth scaling: 3 x 0.33 = 1 would hide a fusion that asks for three.
        many = issubclass(layer, AFPNResidual)
        check_int(name, "the row's number", repeats, 1, None if many else 1)
        c_in: Any
        if issubclass(layer, LevelFusion):
            c_in = [_channels(name, x, ch) for x in _sources(name, source)]
        else:
            c_in = _channels(name, source, ch)
        args = _arguments(layer, args)
        layer.check(c_in, *args)
    except ValueError as error:
        row = short_repr([source, repeats, name, args])
        raise ValueError(f"{yaml_name(d)}, row {i} {row}: {error}") from None
    if issubclass(layer, AFPNConv):
        # The share comes last: a scale's limit is on the width of the level that it is a share of.
        channels, share = (*args, 1)[:2]
        c_out = int(make_divisible(min(channels, max_channels) * width * share, 8))
        return c_out, [c_in, c_out]
    return (c_in[args[0]] if issubclass(layer, LevelFusion) else c_in), [c_in, *args]


def _sources(name: str, source: object) -> list[object]:
    if not isinstance(source, list):
        raise ValueError(
            f"{name} takes a list of sources, finest level first, got {short_repr(source)}"
        )
    return source


def _channels(name: str, source: object, ch: Sequence[int]) -> int:
    check_int(name, "a source", source, -len(ch), len(ch) - 1)
    return ch[cast(int, source)]


def _arguments(layer: Layer, args: list[Any]) -> list[Any]:
    """A row's arguments by position: numbers first, and the words behind them as one `options`."""
    names = list(inspect.signature(layer.check).parameters.values())[1:]
    numbers = [*takewhile(lambda arg: not isinstance(arg, str), args)]
    words = tuple(args[len(numbers) :])
    takes_words = bool(names) and names[-1].name == "options"
    slots = names[:-1] if takes_words else names
    required = sum(p.default is p.empty for p in slots)
    if not required <= len(numbers) <= len(slots) or (words and not takes_words):
        usage = [p.name if p.default is p.empty else f"{p.name}={p.default}" for p in slots]
        usage += ["options"] * takes_words
        raise ValueError(
            f"{layer.__name__} takes the arguments [{', '.join(usage)}], got {short_repr(args)}"
        )
    return [*numbers, *(p.default for p in slots[len(numbers) :]), words] if words else numbers
