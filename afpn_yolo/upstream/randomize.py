"""Weights and statistics for a model that was never trained, so that its speed can be measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def enliven(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give an untrained model weights and statistics with which no value dies out or explodes.

    Numbers too small for float32's usual form cost a processor many times the time of others.
    """
    generator = torch.Generator().manual_seed(seed)
    norms: list[Any] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.1, generator=generator)
            module.reset_running_stats()
            norms.append((module, module.momentum))
            module.momentum = None  # the average over what follows
    model.train()
    with torch.no_grad():
        model(torch.rand(2, 3, 128, 128, generator=generator))
    for module, momentum in norms:
        module.momentum = momentum
    return model.eval()
