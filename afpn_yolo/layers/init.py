"""How AFPN's layers start, before the first training step.

A convolution that brings a level somewhere, to another width, another size, or through a fusion,
starts as a copy: its input comes through, with a little noise. A residual unit starts silent, by a
last BatchNorm scale of zero. So the neck, 17 convolutions deep, starts as a shallow one, and every
level as the mean of the backbone's levels that it will fuse.

What is left starts as in the authors' code: Xavier-normal with gain 0.02, BatchNorm scales from
N(1, 0.02). They start all of it so; with the BatchNorm eps of Ultralytics, 1e-3 where theirs is
1e-5, such small weights let every layer pass on a fraction of what it gets, and nothing arrives.
`docs/results.md` has the measurements. What the network computes is not changed by any of this.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

GAIN = 0.02
SCALE_STD = 0.02
NOISE = 0.1


def init_neck(module: nn.Module) -> None:
    """Draw every convolution's weight and every BatchNorm's scale below `module` anew."""
    for m in _with_values(module):
        if isinstance(m, nn.Conv2d):
            nn.init.xavier_normal_(m.weight, GAIN)
        else:
            nn.init.normal_(m.weight, 1.0, SCALE_STD)


def init_fusion_weights(module: nn.Module) -> None:
    """As `init_neck`, and no bias: at the start every source counts the same everywhere."""
    init_neck(module)
    for m in module.modules():
        if isinstance(m, nn.Conv2d) and m.bias is not None:
            nn.init.zeros_(m.bias)


def init_residual(last: nn.BatchNorm2d) -> None:
    """Silence the last BatchNorm of a residual unit: the unit starts as act(x)."""
    nn.init.zeros_(last.weight)


def init_copy(module: nn.Module) -> None:
    """Let every convolution below `module` start as a copy of its input, and a little noise.

    Where fewer channels come out than go in, channel i is the sum of channels i, i + out, ...;
    where more do, they repeat. A kernel with a centre copies that; one without, the mean of what
    it covers.
    """
    for m in _with_values(module):
        if isinstance(m, nn.Conv2d):
            nn.init.xavier_normal_(m.weight, NOISE)
            with torch.no_grad():
                m.weight += _copy(m.weight)


def _with_values(module: nn.Module) -> Iterator[nn.Conv2d | nn.BatchNorm2d]:
    """Convolutions and BatchNorms; none on the meta device, where drawing is slow for nothing."""
    for m in module.modules():
        if isinstance(m, (nn.Conv2d, nn.BatchNorm2d)) and not m.weight.is_meta:
            yield m


def _copy(weight: Tensor) -> Tensor:
    c_out, c_in, height, width = weight.shape
    channel = torch.arange(max(c_out, c_in))
    copy = torch.zeros_like(weight)
    if height % 2 and width % 2:
        copy[channel % c_out, channel % c_in, height // 2, width // 2] = 1
    else:
        copy[channel % c_out, channel % c_in] = 1 / (height * width)
    return copy


def init_projection(weight: Tensor) -> None:
    """Start a 1x1 convolution to another width as an orthogonal projection, which keeps most."""
    nn.init.orthogonal_(weight)
