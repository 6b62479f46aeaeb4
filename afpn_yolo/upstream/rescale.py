"""The size of weights under BatchNorm: it changes no output, but the training that follows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv


def to_fresh_size(rows: nn.Module) -> None:
    """Give convolutions under BatchNorm weights as large as fresh ones; the outputs stay.

    BatchNorm divides its input by the input's own spread, so weights ten times as large give the
    same, and a step of an optimiser turns them a tenth as far. Steps of a high learning rate make
    them grow, and the next training would move them too little.

    Args:
        rows: Whose `Conv` are meant. In training mode their outputs stay, too, but for eps.
    """
    for module in rows.modules():
        if isinstance(module, Conv) and isinstance(getattr(module, "bn", None), nn.BatchNorm2d):
            _resize(module.conv, module.bn)


@torch.no_grad()
def _resize(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> None:
    now = conv.weight.pow(2).mean().sqrt()
    mean, variance = bn.running_mean, bn.running_var
    if mean is None or variance is None or not now > 0:
        return
    factor: Tensor = (3 * conv.weight[0].numel()) ** -0.5 / now  # as nn.Conv2d starts
    conv.weight.mul_(factor)
    mean.mul_(factor)
    wanted = (variance + bn.eps) * factor**2
    variance.copy_((wanted - bn.eps).clamp(min=0))
    # A channel with so little variance that eps is most of it: its own weight makes up for that.
    bn.weight.mul_(((variance + bn.eps) / wanted).sqrt())
