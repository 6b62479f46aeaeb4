"""All that this package changes in Ultralytics; what it only calls is in `upstream`.

Ultralytics has no way to register a layer, so `register_layers` adds one branch to its
`parse_model`: the function's source is taken, the branch is put before the last `else`, and the
result is run in the function's own module. No installed file is touched.
"""

from __future__ import annotations

import inspect
import linecache
import re
import sys
from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import ultralytics
from ultralytics.utils import ROOT, YAML
from ultralytics.utils.checks import parse_version

from afpn_yolo.graft import NECKS, graft, grafted_name, neck_word
from afpn_yolo.layers import CHECKPOINT_CLASSES, LAYERS, LevelFusion
from afpn_yolo.plugin.fallback import OLDEST, RegistrationError, unsuited
from afpn_yolo.plugin.lookup import FAMILY, Graft, named_graft, resolve, scaled
from afpn_yolo.plugin.model_yaml import check_model_yaml, check_parts, row_arguments
from afpn_yolo.plugin.transfer import transfer_by_part

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
    if vars(tasks).get("AFPN_LAYERS") is NAMES["AFPN_LAYERS"]:
        return
    for path in ("parse_model", "yaml_model_load", "BaseModel.fuse", "BaseModel.load"):
        owner, _, name = path.rpartition(".")
        if not callable(getattr(getattr(tasks, owner, None) if owner else tasks, name, None)):
            raise unsuited(f"has no {path}, which this afpn_yolo needs")
    if parse_version(ultralytics.__version__) < parse_version(OLDEST):
        raise unsuited("is too old")
    source = _patched_source(tasks)
    for name, ours in NAMES.items():
        if vars(tasks).get(name, ours) is not ours:
            raise unsuited(f"has a layer of its own named {name}")
    code = compile(source, _remember(source), "exec")
    vars(tasks).update(NAMES)
    exec(code, vars(tasks))
    _check_before_parsing(tasks)
    _load_by_name(tasks)
    _fuse_ours(tasks)
    transfer_by_part(tasks)
    torch.serialization.add_safe_globals([*CHECKPOINT_CLASSES])  # for ULTRALYTICS_SAFE_LOAD=1


def register_data(data_utils: ModuleType) -> None:
    """Make `data=shapes.yaml` find the data set that this package ships. Twice does nothing."""
    search: Callable[..., Any] = data_utils.check_file
    if hasattr(search, "afpn_yolo"):
        return

    @wraps(search)
    def check_file(file: str | Path, *args: Any, **kwargs: Any) -> Any:
        path = resolve("data", file) if str(file).endswith((".yaml", ".yml")) else None
        return str(path) if path else search(file, *args, **kwargs)

    check_file.afpn_yolo = True  # type: ignore[attr-defined]
    data_utils.check_file = check_file  # type: ignore[attr-defined]


def _patched_source(tasks: ModuleType) -> str:
    parse_model: Callable[..., Any] = tasks.parse_model
    owner = getattr(parse_model, "__globals__", {}).get("__name__")
    if owner != tasks.__name__:
        raise RegistrationError(
            f"{owner or type(parse_model).__module__} has replaced Ultralytics' parse_model before "
            "afpn_yolo could add its layers, so only stock models work: import afpn_yolo first"
        )
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


def _check_before_parsing(tasks: ModuleType) -> None:
    """Check a YAML with rows of ours before the parser builds the first one."""
    parse: Callable[..., Any] = tasks.parse_model

    @wraps(parse)
    def parse_model(d: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        check_model_yaml(d, lambda name: name in vars(tasks) or "." in name)
        return parse(d, *args, **kwargs)

    tasks.parse_model = parse_model  # type: ignore[attr-defined]


def _load_by_name(tasks: ModuleType) -> None:
    """Let names of model YAMLs mean what `resolve` says, or a graft; all others are left alone."""
    load: Callable[..., Any] = tasks.yaml_model_load

    @wraps(load)
    def yaml_model_load(path: str | Path) -> Any:
        file = resolve("models", path) if str(path).endswith((".yaml", ".yml")) else None
        if file:
            content = YAML.load(file) or {}
            content |= {"scale": tasks.guess_model_scale(path), "yaml_file": str(path)}
            if check_parts(content):
                return content
        asked = None if file else named_graft(path)
        try:
            content = grafted(asked, str(path), load) if asked else load(path)
        except FileNotFoundError as error:
            if "does not exist" not in str(error):  # several files of that name, for one
                raise
            # Ultralytics names it without its scale.
            message = f"{path}: no such model YAML{did_you_mean(str(path))}"
            raise FileNotFoundError(message) from None
        check_parts(content)
        return content

    # Registered late, after `import ultralytics`, other modules of it have the function already.
    for name, module in [*sys.modules.items(), (tasks.__name__, tasks)]:
        if name.startswith("ultralytics.") and vars(module).get("yaml_model_load") is load:
            module.yaml_model_load = yaml_model_load  # type: ignore[attr-defined]


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
    for candidate in asked.stock:
        try:
            stock = load(candidate)
            break
        except FileNotFoundError:
            continue
    else:
        necks = ", ".join(map(neck_word, NECKS))
        raise FileNotFoundError(
            f"{name}: ultralytics {ultralytics.__version__} has no {asked.stock[0]} to put a neck "
            f"into; in names, necks are {necks}{did_you_mean(name)}"
        )
    try:
        return {**graft(stock, asked.neck).content, "yaml_file": name}
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def did_you_mean(name: str) -> str:
    """`; did you mean NAME?`, if there is a model of a similar name; "" for paths into folders."""
    letter = re.search(r"\d([nslmx])(?=[-.])", name)
    names = []
    for stem in stock_models():
        file = f"{stem}.yaml"
        file = (scaled(file, letter[1]) if letter else None) or file
        names += [file, *(grafted_name(Path(file).stem, neck) for neck in NECKS)]
    near = get_close_matches(name, names, 1, 0.8)
    return f"; did you mean {near[0]}?" if near and Path(name).name == name else ""


def stock_models() -> list[str]:
    """Stems of Ultralytics' model YAMLs of YOLO families: `yolo11-seg`."""
    files = sorted((ROOT / "cfg" / "models").rglob("*.yaml"))
    return [file.stem for file in files if FAMILY.match(file.stem)]
