"""All that this package changes in Ultralytics; what it only calls: `engine`, `detector`.

Ultralytics has no way to register a layer, so `register_layers` adds one branch to its
`parse_model`: the function's source is taken, the branch is put before the last `else`, and the
result is run in the function's own module. No installed file is touched.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
import ultralytics
from ultralytics.utils.checks import parse_version
from ultralytics.utils.ops import make_divisible

from afpn_yolo.checks import check_int
from afpn_yolo.files import resolve, unscaled
from afpn_yolo.layers import CHECKPOINT_CLASSES, LAYERS, AFPNConv, AFPNResidual, LevelFusion
from afpn_yolo.refuse import OLDEST, unsuited

Layer = type[LevelFusion] | type[AFPNConv] | type[AFPNResidual]

LAST_BRANCH = """\
        else:
            c2 = ch[f]
"""
OUR_BRANCH = """\
        elif m in AFPN_LAYERS:  # afpn_yolo
            c2, args = afpn_row(m, d, i, ch, width, max_channels)
"""
USED = {"m", "d", "i", "ch", "width", "max_channels", "c2", "args"}
LOOK_UP = "globals()[m]"  # how the parser finds the class that a row names


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
        _check_count(layer, args)
        layer.check(c_in, *args)
    except ValueError as error:
        raise ValueError(f"model YAML, row {i} {[source, repeats, name, args]}: {error}") from None
    if issubclass(layer, AFPNConv):
        c_out = int(make_divisible(min(args[0], max_channels) * width, 8))
        return c_out, [c_in, c_out]
    return (c_in[args[0]] if issubclass(layer, LevelFusion) else c_in), [c_in, *args]


def _sources(name: str, source: object) -> list[object]:
    if not isinstance(source, list):
        raise ValueError(f"{name} takes a list of sources, finest level first, got {source!r}")
    return source


def _channels(name: str, source: object, ch: Sequence[int]) -> int:
    check_int(name, "a source", source, -len(ch), len(ch) - 1)
    return ch[cast(int, source)]


def _check_count(layer: Layer, args: list[Any]) -> None:
    names = list(inspect.signature(layer.check).parameters.values())[1:]
    required = sum(p.default is p.empty for p in names)
    if not required <= len(args) <= len(names):
        usage = ", ".join(
            p.name if p.default is p.empty else f"{p.name}={p.default}" for p in names
        )
        raise ValueError(f"{layer.__name__} takes the arguments [{usage}], got {args}")


NAMES: dict[str, object] = {
    **LAYERS,
    "AFPN_LAYERS": frozenset(LAYERS.values()),
    "afpn_row": row_arguments,
}
"""What the patched parser finds in its module."""


def register_layers(tasks: ModuleType) -> None:
    """Make `ultralytics.nn.tasks` build our layers and find our model YAMLs. Twice does nothing.

    Raises:
        RegistrationError: When this Ultralytics is too old, its parser is not as expected, or a
            name of ours is taken. Nothing has been changed then.
    """
    for name in ("parse_model", "check_yaml", "yaml_model_load"):
        if not callable(getattr(tasks, name, None)):
            raise unsuited(f"has no {name}, which this afpn_yolo needs")
    if "AFPN_LAYERS" in tasks.parse_model.__code__.co_names:
        return
    if parse_version(ultralytics.__version__) < parse_version(OLDEST):
        raise unsuited("is too old")
    source = _patched_source(tasks.parse_model)
    for name, ours in NAMES.items():
        if vars(tasks).get(name, ours) is not ours:
            raise unsuited(f"has a layer of its own named {name}")
    code = compile(source, _remember(source), "exec")
    vars(tasks).update(NAMES)
    exec(code, vars(tasks))
    _find_shipped(tasks, "check_yaml", "models")
    _remember_asked(tasks)
    torch.serialization.add_safe_globals([*CHECKPOINT_CLASSES])  # for ULTRALYTICS_SAFE_LOAD=1


def register_data(data_utils: ModuleType) -> None:
    """Make `data=shapes.yaml` find the data set that this package ships. Twice does nothing."""
    _find_shipped(data_utils, "check_file", "data")


def _patched_source(parse_model: Callable[..., Any]) -> str:
    source = inspect.getsource(parse_model)
    code = parse_model.__code__
    known = {*code.co_varnames, *code.co_cellvars} >= USED and LOOK_UP in source
    if not known or source.count(LAST_BRANCH) != 1:
        raise unsuited("has a parser that this afpn_yolo doesn't know")
    return source.replace(LAST_BRANCH, OUR_BRANCH + LAST_BRANCH)


def _remember(source: str) -> str:
    """Let tracebacks and `inspect` show the patched source; returns the file name it is under."""
    name = f"<ultralytics {ultralytics.__version__} parse_model with afpn_yolo>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return name


_asked: ContextVar[str | None] = ContextVar("afpn_yolo_asked", default=None)


def _remember_asked(tasks: ModuleType) -> None:
    """Keep the name that a user wrote while Ultralytics asks for its unscaled form.

    Releases differ in which of the two forms they ask for first. What the name means must not.
    """
    load: Callable[..., Any] = tasks.yaml_model_load

    def yaml_model_load(path: str | Path) -> Any:
        token = _asked.set(str(path))
        try:
            return load(path)
        finally:
            _asked.reset(token)

    tasks.yaml_model_load = yaml_model_load  # type: ignore[attr-defined]


def _find_shipped(module: ModuleType, function: str, kind: str) -> None:
    """Make a file look-up of Ultralytics', as seen from one module, try `files.resolve` first."""
    search: Callable[..., Any] = getattr(module, function)
    if hasattr(search, "afpn_yolo"):
        return

    def look_up(file: str | Path, *args: Any, **kwargs: Any) -> Any:
        asked = _asked.get()
        same = asked is not None and str(file) in (asked, unscaled(asked))
        name = asked if asked is not None and same else file
        found = resolve(kind, name) if str(name).endswith((".yaml", ".yml")) else None
        return str(found) if found else search(file, *args, **kwargs)

    look_up.afpn_yolo = True  # type: ignore[attr-defined]
    setattr(module, function, look_up)
