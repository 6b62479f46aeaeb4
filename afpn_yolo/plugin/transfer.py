"""Weights of another model for one with a neck of ours: its backbone and head, no other rows.

A hybrid's neck has the other model's last block of each level, too. The rest of a neck is one that
comes with the package, where it has one for that backbone (`taught`).

Ultralytics transfers weights by name and shape, and a row's number is part of the name: behind
another neck the head would be lost, and rows of two necks that share number and shape mixed up. So
its own `load` gets the other model with its rows renumbered as ours.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import wraps
from types import ModuleType
from typing import Any

from torch import nn
from ultralytics.nn.modules.head import Detect
from ultralytics.utils import LOGGER

from afpn_yolo.base.errors import yaml_name
from afpn_yolo.base.yaml_rows import absolute, backbone_rows
from afpn_yolo.graft.shapes import sources_of
from afpn_yolo.layers import LAYERS
from afpn_yolo.plugin.lookup import named_graft
from afpn_yolo.plugin.taught import load_taught

SHARED_PARTS = {"cv2", "cv3", "one2one_cv2", "one2one_cv3", "dfl"}
"""The parts that mean the same in all heads derived from `Detect`: boxes and classes."""


def transfer_by_part(tasks: ModuleType) -> None:
    """Let `model.load` of a model with a neck of ours transfer backbone and head of any other."""
    load: Callable[..., Any] = tasks.BaseModel.load

    @wraps(load)
    def load_by_part(self: Any, weights: Any, *args: Any, **kwargs: Any) -> Any:
        source = weights
        if isinstance(weights, dict):
            source = weights.get("ema") or weights.get("model")
        if hasattr(source, "student_model"):  # a checkpoint of a `distill_model=` training midway
            weights = source = source.student_model
        if not _is_graft(self) or not _has_rows(source) or _same_neck(self, source):
            return load(self, weights, *args, **kwargs)
        blocks = last_blocks(source, self)
        stand_in = renumbered(source, self, blocks)
        result = load(self, stand_in, *args, **kwargs)
        names: Any = getattr(source, "names", None)
        # Ultralytics does this only where the weights of all rows fit.
        known = isinstance(names, dict) and hasattr(stand_in.model[-1], "cv3")
        if known and self.names == {i: str(i) for i in range(len(names))}:
            self.names = dict(names)
        neck = load_taught(self, source, blocks)
        if kwargs.get("verbose", True):
            _log(self, source, stand_in, blocks, neck)
        return result

    tasks.BaseModel.load = load_by_part


def _is_graft(model: Any) -> bool:
    """Whether a model has a neck of ours, or is the control without one."""
    if not _has_rows(model):
        return False
    name = named_graft(str(model.yaml.get("yaml_file", "")))
    return name is not None or any(isinstance(row, tuple(LAYERS.values())) for row in model.model)


def _has_rows(model: Any) -> bool:
    """Whether it was built from a model YAML; networks of other packages weren't."""
    config = getattr(model, "yaml", None)
    return isinstance(config, dict) and "backbone" in config


def _same_neck(model: Any, other: Any) -> bool:
    """Whether rows with the same number are the same in two models, up to the heads."""

    def rows(of: Any) -> list[Any]:
        return [(type(row), absolute(row.f, row.i)) for row in of.model[backbone_rows(of) : -1]]

    return backbone_rows(model) == backbone_rows(other) and rows(model) == rows(other)


def renumbered(source: Any, model: Any, blocks: Mapping[int, nn.Module]) -> Any:
    """A model that shares its weights with `source`, with its rows where `model` has them.

    Rows of the neck are empty but for `blocks`, and so are those of backbone and head of another
    kind in `source`.
    """
    rows: list[nn.Module] = [nn.Identity() for _ in model.model]
    for i in range(min(backbone_rows(model), backbone_rows(source))):
        target, row = model.model[i], source.model[i]
        if type(target) is type(row) and target.f == row.f:
            rows[i] = row
    if len(source.model) > backbone_rows(source):
        rows[-1] = _head(source.model[-1], model.model[-1])
    for i, row in blocks.items():
        rows[i] = row
    return _with_children(source, {"model": nn.Sequential(*rows)})


def last_blocks(source: Any, model: Any) -> dict[int, nn.Module]:
    """What the head of `source` reads, by the row of a hybrid's neck that is of the same kind."""
    heads = source.model[-1], model.model[-1]
    if not all(isinstance(head, Detect) for head in heads):
        return {}
    theirs, ours = (
        {float(s): row for s, row in zip(head.stride, sources_of(head), strict=True)}
        for head in heads
    )
    pairs = {row: source.model[theirs[s]] for s, row in ours.items() if s in theirs}
    return {
        i: row
        for i, row in pairs.items()
        if type(row) is type(model.model[i]) and type(row) not in LAYERS.values()
    }


def _with_children(module: Any, children: dict[str, nn.Module]) -> Any:
    """A shallow copy of a module with other children."""
    result = copy.copy(module)
    result._modules = children
    return result


def _head(source: Any, target: Any) -> nn.Module:
    """The parts of a head that mean the same in another one; levels are matched by stride."""
    alike = type(source) is type(target)
    if not isinstance(source, Detect) or not isinstance(target, Detect):
        return source if alike else nn.Identity()
    place = {float(stride): i for i, stride in enumerate(source.stride)}
    wanted = [float(stride) for stride in target.stride]
    parts: dict[str, nn.Module] = {}
    for name, part in source.named_children():
        if alike or name in SHARED_PARTS:
            if isinstance(part, nn.ModuleList):  # a branch for each level
                levels = [part[place[s]] if s in place else nn.Identity() for s in wanted]
                part = nn.ModuleList(levels)
            parts[name] = part
    if not {*wanted} <= {*place}:  # Ultralytics looks into each branch of a `Detect`
        head = nn.Module()
        head._modules.update(parts)
        return head
    return _with_children(source, parts)


def _log(
    model: Any, source: Any, stand_in: Any, blocks: Mapping[int, nn.Module], neck: str
) -> None:
    """Log in one line what was transferred, and the name of the taught neck that was loaded."""
    first = backbone_rows(model)
    name = getattr(source, "pt_path", None) or yaml_name(source.yaml)
    last = len(model.model) - 1
    parts = {f"backbone (rows 0-{first - 1})": [*range(first)], "head": [last]}
    if blocks:
        parts["neck's last blocks"] = [*blocks]
    fits, texts = [], []
    for part, rows in parts.items():
        # Without BatchNorm's counters, which fit everywhere.
        wanted, present = (
            {
                k: v
                for k, v in nn.ModuleList(m.model[i] for i in rows).state_dict().items()
                if v.ndim
            }
            for m in (model, stand_in)
        )
        fits.append(sum(k in present and v.shape == present[k].shape for k, v in wanted.items()))
        texts.append(f"{fits[-1]} of {len(wanted)} tensors of the {part}")
    listed = " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))
    line = f"{name}: {listed} transferred; "
    line += f"the neck is afpn_yolo's {neck}" if neck else "all others start fresh"
    if fits[0]:
        LOGGER.info(line)
    else:
        LOGGER.warning(f"{line} (another scale, or another family?)")
