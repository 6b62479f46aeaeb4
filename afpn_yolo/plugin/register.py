"""All that this package changes in Ultralytics; what it only calls: `upstream`.

Ultralytics has no way to register a layer, so `register_layers` adds one branch to its
`parse_model`: the function's source is taken, the branch is put before the last `else`, and the
result is run in the function's own module. No installed file is touched.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import ultralytics
from ultralytics.utils.callbacks.base import default_callbacks
from ultralytics.utils.checks import parse_version

from afpn_yolo.layers import CHECKPOINT_CLASSES, LAYERS, LevelFusion
from afpn_yolo.plugin.by_name import grafted
from afpn_yolo.plugin.checkpoints import explain_damage, keep_run
from afpn_yolo.plugin.fallback import OLDEST, unsuited
from afpn_yolo.plugin.lookup import named_graft, resolve, unscaled
from afpn_yolo.plugin.model_yaml import check_model_yaml
from afpn_yolo.plugin.rows import row_arguments
from afpn_yolo.plugin.suggest import no_such_model
from afpn_yolo.plugin.transfer import carry_over

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
START = "on_pretrain_routine_end"  # the callback before the first epoch

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
    for name in ("parse_model", "check_yaml", "yaml_model_load", "torch_safe_load"):
        if not callable(getattr(tasks, name, None)):
            raise unsuited(f"has no {name}, which this afpn_yolo needs")
    for name in ("fuse", "load"):
        if not callable(getattr(getattr(tasks, "BaseModel", None), name, None)):
            raise unsuited(f"has no BaseModel.{name}, which this afpn_yolo needs")
    if START not in default_callbacks:
        raise unsuited(f"calls no {START}, which this afpn_yolo needs")
    if "AFPN_LAYERS" in inspect.unwrap(tasks.parse_model).__code__.co_names:
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
    _check_first(tasks)
    _find_shipped(tasks, "check_yaml", "models")
    _remember_asked(tasks)
    _fuse_ours(tasks)
    carry_over(tasks)
    torch.serialization.add_safe_globals([*CHECKPOINT_CLASSES])  # for ULTRALYTICS_SAFE_LOAD=1
    explain_damage(tasks)
    # First: `YOLO.reset_callbacks` leaves no other.
    default_callbacks[START].insert(0, keep_run)


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


def _check_first(tasks: ModuleType) -> None:
    """Let the parser look a YAML with rows of ours through, before it builds the first one."""
    parse: Callable[..., Any] = tasks.parse_model

    @wraps(parse)
    def parse_model(d: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        _check(tasks, d)
        return parse(d, *args, **kwargs)

    tasks.parse_model = parse_model  # type: ignore[attr-defined]


def _check(tasks: ModuleType, d: dict[str, Any]) -> None:
    check_model_yaml(d, lambda name: name in vars(tasks) or "." in name)


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

    def load_asked(path: str | Path) -> Any:
        token = _asked.set(str(path))
        try:
            return load(path)
        finally:
            _asked.reset(token)

    @wraps(load)
    def yaml_model_load(path: str | Path) -> Any:
        asked = named_graft(path) if resolve("models", path) is None else None
        try:
            content = grafted(asked, str(path), load_asked) if asked else load_asked(path)
        except FileNotFoundError as error:
            if "does not exist" not in str(error):  # several files of that name, for one
                raise
            raise no_such_model(str(path)) from None  # Ultralytics names it without its scale
        _check(tasks, content)  # the parser is not the first to look into it
        return content

    tasks.yaml_model_load = yaml_model_load  # type: ignore[attr-defined]


def _fuse_ours(tasks: ModuleType) -> None:
    """Let `model.fuse()`, which folds Ultralytics' own layers only, end with ours."""
    fuse: Callable[..., Any] = tasks.BaseModel.fuse

    @wraps(fuse)
    def fuse_all(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        result = fuse(self, *args, **kwargs)
        for module in [m for m in self.modules() if isinstance(m, LevelFusion)]:
            module.fuse()
        return result

    tasks.BaseModel.fuse = fuse_all


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
