"""What the rows of a model YAML give: found by building them, and by a run on a small image."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from afpn_yolo.base.errors import yaml_name
from afpn_yolo.base.yaml_rows import absolute, torchvision_args

SIDE = 256
"""Of the image, as in Ultralytics' own run for the strides of a model."""

Scale = tuple[float, float]
"""Factor for widths, and the most channels that a row may ask for."""

Shape = tuple[int, int]
"""Stride and channels of a feature map."""


@dataclass(frozen=True)
class Cost:
    """Of a neck: its parameters, and the multiply-adds of its convolutions on the small image."""

    parameters: int
    operations: int

    def within(self, other: Cost) -> bool:
        """Whether neither is more than another neck's."""
        return self.parameters <= other.parameters and self.operations <= other.operations


def scaling(d: Mapping[str, Any]) -> tuple[str | None, Scale]:
    """The letter of the narrowest scale of a model YAML, and what that scale does to widths."""
    scales = d.get("scales")
    if not scales:
        return None, (d.get("width_multiple", 1.0), float("inf"))
    letter = min(scales, key=lambda name: scales[name][1])
    _, width, most = scales[letter]
    return letter, (width, most)


def scaled(channels: int, scale: Scale) -> int:
    """The channels of a row that asks for `channels`, by the rule of Ultralytics' parser."""
    from ultralytics.utils.ops import make_divisible

    width, most = scale
    return int(make_divisible(min(channels, most) * width, 8))


@torch.inference_mode()
def probe(d: Mapping[str, Any]) -> tuple[list[Shape | None], Cost]:
    """Build all rows but the last one at the narrowest scale, and run them.

    Nothing is drawn, so that what follows starts as it would have started without.

    Args:
        d: The content of a model YAML.

    Returns:
        The shape of what each row gives, None where it is no feature map; and the neck's cost.

    Raises:
        ValueError: When Ultralytics can't build or run the rows.
    """
    try:
        rows = _headless(d).to_empty(device="cpu")
        neck = rows[len(d["backbone"]) :]
        counts = _counted(neck)
        outputs = _run(rows, torch.zeros(1, d.get("channels", 3), SIDE, SIDE))
    except Exception as error:  # the parser raises whatever it comes across
        raise ValueError(
            f"{yaml_name(d)}: it can't be built: {type(error).__name__}: {error}"
        ) from error
    return [_shape(x) for x in outputs], _cost(neck, counts)


@torch.inference_mode()
def neck_cost(d: Mapping[str, Any], shapes: Sequence[Shape | None]) -> Cost:
    """The cost of a neck at the narrowest scale; nothing is computed.

    Args:
        d: The content of a model YAML.
        shapes: Of the backbone's rows.
    """
    rows = _headless(d)
    neck = rows[len(shapes) :]
    counts = _counted(neck)
    sizes = [x and (1, x[1], SIDE // x[0], SIDE // x[0]) for x in shapes]
    _run(rows, None, [size and torch.empty(size, device="meta") for size in sizes])
    return _cost(neck, counts)


def laid_out(d: Mapping[str, Any]) -> nn.Sequential:
    """The rows of a model YAML at the scale that it names: with shapes, and without values."""
    from ultralytics.nn.tasks import parse_model

    content = copy.deepcopy(dict(d))
    for args in torchvision_args(content):
        args[2:3] = [None]
    with torch.device("meta"):
        rows: nn.Sequential = parse_model(content, ch=d.get("channels", 3), verbose=False)[0]
    return rows.eval()


def _headless(d: Mapping[str, Any]) -> nn.Sequential:
    """All rows but the last one, at the narrowest scale."""
    return laid_out({**d, "head": d["head"][:-1], "scale": scaling(d)[0]})


def _counted(rows: nn.Module) -> list[int]:
    """A list that gets the multiply-adds of each convolution when it runs."""
    counts: list[int] = []

    def count(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        positions = inputs[0] if layer.transposed else output
        counts.append(layer.weight.numel() * positions[0, 0].numel())

    for module in rows.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.register_forward_hook(count)
    return counts


def _cost(neck: nn.Module, counts: Iterable[int]) -> Cost:
    return Cost(sum(p.numel() for p in neck.parameters()), sum(counts))


def _run(rows: nn.Sequential, image: Tensor | None, outputs: Sequence[Any] = ()) -> list[Any]:
    """What each row gives; `outputs` are known of the first ones."""
    found = [*outputs]
    for i, row in enumerate(rows[len(found) :], len(found)):
        source: Any = row.f
        known = [*found, image]  # so that -1 is the image
        taken = [known[f] for f in absolute(source, i)]
        found.append(row(taken if isinstance(source, list) else taken[0]))
    return found


def _shape(x: Any) -> Shape | None:
    if not isinstance(x, Tensor) or x.ndim != 4:
        return None
    return round(SIDE / x.shape[-1]), int(x.shape[1])
