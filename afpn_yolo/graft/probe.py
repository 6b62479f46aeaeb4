"""What the rows of a model YAML give: found by building them, and by a run on a small image."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from afpn_yolo.base.rows import absolute
from afpn_yolo.base.values import yaml_name

SIDE = 256
"""Of the image, as in Ultralytics' own run for the strides of a model."""

Scale = tuple[float, float]
"""Factor for widths, and the most channels that a row may ask for."""


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
def probe(d: Mapping[str, Any]) -> list[tuple[int, int] | None]:
    """Build all rows but the last one at the narrowest scale, and run them.

    Nothing is drawn, so that what follows starts as it would have started without.

    Args:
        d: The content of a model YAML.

    Returns:
        Per row stride and channels; None for a row that gives no feature map.

    Raises:
        ValueError: When Ultralytics can't build or run the rows.
    """
    from ultralytics.nn.tasks import parse_model

    content = copy.deepcopy(dict(d))
    content |= {"head": content["head"][:-1], "scale": scaling(d)[0]}
    channels = content.get("channels", 3)
    try:
        with torch.device("meta"):
            rows: Any = parse_model(content, ch=channels, verbose=False)[0]
        outputs = _run(rows.to_empty(device="cpu").eval(), torch.zeros(1, channels, SIDE, SIDE))
    except Exception as error:  # the parser raises whatever it comes across
        raise ValueError(
            f"{yaml_name(d)}: it can't be built: {type(error).__name__}: {error}"
        ) from error
    return [_shape(x) for x in outputs]


def _run(rows: nn.Sequential, image: Tensor) -> list[Any]:
    outputs: list[Any] = []
    for i, row in enumerate(rows):
        source: Any = row.f
        known = [*outputs, image]  # so that -1 is the image
        taken = [known[f] for f in absolute(source, i)]
        outputs.append(row(taken if isinstance(source, list) else taken[0]))
    return outputs


def _shape(x: Any) -> tuple[int, int] | None:
    if not isinstance(x, Tensor) or x.ndim != 4:
        return None
    return round(SIDE / x.shape[-1]), int(x.shape[1])
