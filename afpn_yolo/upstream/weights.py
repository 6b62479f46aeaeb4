"""Weights set without training: random ones to measure speed with, and a scale to train on from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import BatchNorm2d
from ultralytics.nn.modules.conv import Conv


def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give an untrained model weights and BatchNorm statistics that keep activations in range.

    Denormals slow CPUs down several times, which would spoil a measurement.
    """
    generator = torch.Generator().manual_seed(seed)
    norms: list[Any] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
        elif isinstance(module, BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.1, generator=generator)
            module.reset_running_stats()
            norms.append((module, module.momentum))
            module.momentum = None  # the average over the pass below
    model.train()
    with torch.no_grad():
        model(torch.rand(2, 3, 128, 128, generator=generator))
    for module, momentum in norms:
        module.momentum = momentum
    return model.eval()


@torch.no_grad()
def rescale(rows: nn.Module, kept: Sequence[nn.Parameter] = ()) -> None:
    """Scale the weights of each `Conv` under BatchNorm to the size of fresh ones, but for `kept`.

    Outputs stay: BatchNorm divides by the standard deviation of its input. But an optimizer's step
    turns weights that a high learning rate has made ten times as large a tenth as far.
    """
    for module in rows.modules():
        if not isinstance(module, Conv) or not isinstance(getattr(module, "bn", None), BatchNorm2d):
            continue
        weight, bn = module.conv.weight, module.bn
        if any(weight is parameter for parameter in kept):
            continue
        size = weight.pow(2).mean().sqrt()
        mean, variance = bn.running_mean, bn.running_var
        if mean is None or variance is None or not size > 0:
            continue
        factor: Tensor = (3 * weight[0].numel()) ** -0.5 / size  # as nn.Conv2d starts
        weight.mul_(factor)
        mean.mul_(factor)
        wanted = (variance + bn.eps) * factor**2
        variance.copy_((wanted - bn.eps).clamp(min=0))
        # Where eps is most of a channel's variance, BatchNorm's weight compensates.
        bn.weight.mul_(((variance + bn.eps) / wanted).sqrt())
