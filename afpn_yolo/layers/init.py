"""How AFPN's layers are initialised.

A convolution that only aligns or fuses levels starts as a copy of its input with a little noise, a
1x1 convolution to another width as an orthogonal projection, and a residual unit as act(x): its
last BatchNorm scale is zero. So the neck starts as if it were shallow.

Everything else starts as in the authors' code: Xavier-normal with gain 0.02, BatchNorm scales from
N(1, 0.02). With Ultralytics' BatchNorm eps, 1e-3 instead of their 1e-5, almost no signal would get
through if all layers started so.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

GAIN = 0.02
SCALE_STD = 0.02
NOISE = 0.1


def init_neck(module: nn.Module) -> None:
    """Draw the weights of convolutions and the scales of BatchNorms in `module`; no biases."""
    for m in _with_values(module):
        if isinstance(m, nn.Conv2d):
            nn.init.xavier_normal_(m.weight, GAIN)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        else:
            nn.init.normal_(m.weight, 1.0, SCALE_STD)


def init_copy(module: nn.Module) -> None:
    """Let every convolution in `module` start as a copy of its input, and a little noise.

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
