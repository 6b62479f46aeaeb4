"""Weights of another model into one with a neck of ours: the backbone's and the head's, no others.

Ultralytics carries weights over by name and shape, and a row's number is a part of the name.
Behind another neck the head has another number, so that it would be lost; and rows of two necks
that happen to share number and shape would be taken for one another. So the other model is given
to Ultralytics' own `load` with its rows in our places.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import wraps
from types import ModuleType
from typing import Any

from torch import nn
from ultralytics.nn.modules.head import Detect
from ultralytics.utils import LOGGER

from afpn_yolo.base.errors import yaml_name
from afpn_yolo.base.yaml_rows import absolute, backbone_rows
from afpn_yolo.layers import LAYERS
from afpn_yolo.plugin.lookup import named_graft

OF_EVERY_HEAD = {"cv2", "cv3", "one2one_cv2", "one2one_cv3", "dfl"}
"""What all heads of `Detect`'s kind mean the same by: boxes and classes."""


def carry_over(tasks: ModuleType) -> None:
    """Let `model.load` of a model with a neck of ours bring over backbone and head of any other.

    Args:
        tasks: The module `ultralytics.nn.tasks`.
    """
    load: Callable[..., Any] = tasks.BaseModel.load

    @wraps(load)
    def load_ours(self: Any, weights: Any, *args: Any, **kwargs: Any) -> Any:
        source = weights
        if isinstance(weights, dict):
            source = weights.get("ema") or weights.get("model")
        if not _is_graft(self) or not _has_rows(source) or _same_neck(self, source):
            return load(self, weights, *args, **kwargs)
        stand_in = renumbered(source, self)
        given = load(self, stand_in, *args, **kwargs)
        _take_names(self, source, stand_in.model[-1])
        if kwargs.get("verbose", True):
            _tell(self, source, stand_in)
        return given

    tasks.BaseModel.load = load_ours


def _is_graft(model: Any) -> bool:
    """Whether a model has a neck of ours, or is the control without one."""
    if not _has_rows(model):
        return False
    name = named_graft(str(model.yaml.get("yaml_file", "")))
    return name is not None or any(isinstance(row, tuple(LAYERS.values())) for row in model.model)


def _has_rows(model: Any) -> bool:
    """Whether it was built of a model YAML; a network of another make wasn't."""
    config = getattr(model, "yaml", None)
    return isinstance(config, dict) and "backbone" in config


def _same_neck(model: Any, other: Any) -> bool:
    """Whether rows of two models mean the same where they have one number, up to the heads."""

    def rows(of: Any) -> list[Any]:
        return [(type(row), absolute(row.f, row.i)) for row in of.model[backbone_rows(of) : -1]]

    return backbone_rows(model) == backbone_rows(other) and rows(model) == rows(other)


def renumbered(source: Any, model: Any) -> Any:
    """A model that shares its weights with another one, and has its rows where a third has them.

    Args:
        source: Whose weights are wanted.
        model: Whose numbers count. Rows of its neck are empty, and so are those of its backbone
            and head that are of another kind in `source`.
    """
    rows: list[nn.Module] = [nn.Identity() for _ in model.model]
    for i in range(min(backbone_rows(model), backbone_rows(source))):
        ours, theirs = model.model[i], source.model[i]
        if type(ours) is type(theirs) and ours.f == theirs.f:
            rows[i] = theirs
    if len(source.model) > backbone_rows(source):
        rows[-1] = _head(source.model[-1], model.model[-1])
    result = copy.copy(source)
    result._modules = {"model": nn.Sequential(*rows)}
    return result


def _head(theirs: Any, ours: Any) -> nn.Module:
    """Of a head what means the same in another: levels are matched by their strides."""
    if not isinstance(theirs, Detect) or not isinstance(ours, Detect):
        return theirs if type(theirs) is type(ours) else nn.Identity()
    place = {float(stride): i for i, stride in enumerate(theirs.stride)}
    wanted = [float(stride) for stride in ours.stride]
    alike = type(theirs) is type(ours)
    if alike and wanted == [*place]:
        return theirs
    head = nn.Module()
    for name, part in theirs.named_children():
        if isinstance(part, nn.ModuleList) and (alike or name in OF_EVERY_HEAD):
            found = [part[place[s]] if s in place else nn.Identity() for s in wanted]
            head.add_module(name, nn.ModuleList(found))  # a branch for each level
        elif name in OF_EVERY_HEAD:
            head.add_module(name, part)
    return head


def _take_names(model: Any, source: Any, head: nn.Module) -> None:
    """Classes keep their names with their weights, as Ultralytics does it where all weights fit."""
    names = getattr(source, "names", None)
    if not isinstance(names, dict) or not hasattr(head, "cv3"):
        return
    if model.names == {i: str(i) for i in range(len(names))}:
        model.names = dict(names)


def _tell(model: Any, source: Any, stand_in: Any) -> None:
    """Say in one line what was carried over."""
    first = backbone_rows(model)
    name = getattr(source, "pt_path", None) or yaml_name(source.yaml)
    backbone, head = (
        _share(part, [*model.model[rows]], [*stand_in.model[rows]])
        for part, rows in (
            (f"backbone (rows 0-{first - 1})", slice(first)),
            ("head", slice(-1, None)),
        )
    )
    if not backbone:
        fits = f"nothing but {head}" if head else "neither its backbone nor its head"
        LOGGER.warning(f"{name}: {fits} fits (another scale, or another family?)")
        return
    carried, fresh = (f" and {head}", "the neck starts") if head else ("", "neck and head start")
    LOGGER.info(f"{name}: {backbone}{carried} carried over; {fresh} fresh")


def _share(part: str, ours: Sequence[Any], theirs: Sequence[Any]) -> str:
    """How much of a part is there: its name, with numbers where that isn't all; "" for nothing."""
    # Without BatchNorm's counters, which fit everywhere.
    wanted, given = (
        {k: v for k, v in nn.ModuleList(rows).state_dict().items() if v.ndim}
        for rows in (ours, theirs)
    )
    fit = sum(k in given and v.shape == given[k].shape for k, v in wanted.items())
    if not fit or fit == len(wanted):
        return part if fit else ""
    counts = [str(getattr(rows[-1], "nc", "?")) for rows in (ours, theirs)]
    classes = f" ({counts[0]} classes for {counts[1]})" if len({*counts, "?"}) == 3 else ""
    return f"{fit} of {len(wanted)} tensors of the {part}{classes}"
