"""What the rows of a model YAML give and cost, by laying them out on torch's meta device."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from afpn_yolo.base.errors import yaml_name
from afpn_yolo.base.yaml_rows import absolute, torchvision_args

SIDE = 256  # of the image, as in Ultralytics' own run for the strides of a model

Scale = tuple[float, float]
"""Factor for channels, and the most channels that a row may ask for."""

Shape = tuple[int, int]
"""Stride and channels of a feature map."""

Outputs = dict[int, Tensor]
"""Outputs by row; the image (B, C, H, W) is row -1."""


@dataclass(frozen=True)
class Cost:
    """Parameters of a module, and its GFLOPs: two operations per multiply-add, before fusing."""

    parameters: int
    gflops: float

    def within(self, other: Cost) -> bool:
        """Whether neither is more than another neck's."""
        return self.parameters <= other.parameters and self.gflops <= other.gflops


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


def laid_out(d: Mapping[str, Any]) -> nn.Sequential:
    """The rows of a model YAML at the scale that it names: with shapes, and without values."""
    from ultralytics.nn.tasks import parse_model

    content = copy.deepcopy(dict(d))
    for args in torchvision_args(content):
        args[2:3] = [None]
    with torch.device("meta"):
        rows: nn.Sequential = parse_model(content, ch=d.get("channels", 3), verbose=False)[0]
    return rows.eval()


@torch.inference_mode()
def measure(d: Mapping[str, Any]) -> tuple[list[Shape | None], Cost]:
    """Lay out all rows of a model YAML but the last one at the narrowest scale, without values.

    Returns:
        The shape of what each row gives, None where it is no feature map; and the neck's cost.

    Raises:
        ValueError: When Ultralytics can't build or run the rows.
    """
    first = len(d["backbone"])
    try:
        rows = laid_out({**d, "head": d["head"][:-1], "scale": scaling(d)[0]})
        image = torch.empty(1, d.get("channels", 3), SIDE, SIDE, device="meta")
        with torch.device("meta"):
            outputs = run_rows(rows, {-1: image}, range(first))
        outputs, neck = _counted(rows, outputs, range(first, len(rows)))
    except Exception as error:  # the parser raises whatever it comes across
        raise ValueError(
            f"{yaml_name(d)}: it can't be built: {type(error).__name__}: {error}"
        ) from error
    return [_shape(outputs[i]) for i in range(len(rows))], neck


def cost(d: Mapping[str, Any]) -> Cost:
    """What all rows of a model YAML cost on 640 x 640 pixels, at the scale that it names."""
    image = torch.empty(1, d.get("channels", 3), 640, 640, device="meta")
    rows = laid_out(d).train()  # in evaluation heads would decode, too
    return _counted(rows, {-1: image}, range(len(rows)))[1]


def _counted(rows: nn.Sequential, outputs: Outputs, which: Sequence[int]) -> tuple[Outputs, Cost]:
    """As `run_rows`, and what these rows cost."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        outputs = run_rows(rows, outputs, which)
    parameters = sum(parameter.numel() for i in which for parameter in rows[i].parameters())
    return outputs, Cost(parameters, counter.get_total_flops() / 1e9)


def run_rows(rows: nn.Sequential, outputs: Outputs, which: Iterable[int]) -> Outputs:
    """Run some of a model's rows, in order; returns `outputs` with the new ones."""
    outputs = dict(outputs)
    for i in which:
        layer = rows[i]
        inputs = [outputs[f] for f in sources_of(layer)]
        outputs[i] = layer(inputs if isinstance(layer.f, list) else inputs[0])
    return outputs


def sources_of(layer: Any) -> list[int]:
    """The rows that a row reads, counted from the first; -1 is the image."""
    return absolute(layer.f, layer.i)  # what Ultralytics' parser attaches


def _shape(x: Any) -> Shape | None:
    if not isinstance(x, Tensor) or x.ndim != 4:
        return None
    return round(SIDE / x.shape[-1]), int(x.shape[1])
