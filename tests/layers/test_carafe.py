"""CARAFE against a loop over its pixels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from afpn_yolo.layers import AFPNFusion, Carafe


@pytest.mark.parametrize("scale", [2, 4])
def test_values(scale: int) -> None:
    torch.manual_seed(0)
    layer = Carafe(3, scale)
    nn.init.normal_(layer.encode.weight)  # as it starts, all weights are nearly the same
    x = torch.randn(2, 3, 4, 5)
    with torch.no_grad():
        kernels = nn.functional.pixel_shuffle(layer.encode(layer.compress(x)), scale).softmax(1)
        expected = torch.zeros(2, 3, 4 * scale, 5 * scale)
        for row in range(4 * scale):
            for column in range(5 * scale):
                for k in range(25):
                    i, j = row // scale + k // 5 - 2, column // scale + k % 5 - 2
                    if 0 <= i < 4 and 0 <= j < 5:
                        weight = kernels[:, k, row, column, None]
                        expected[:, :, row, column] += weight * x[:, :, i, j]
        assert torch.allclose(layer(x), expected, atol=1e-5)


def test_starts_as_the_mean_of_the_neighbourhood() -> None:
    fusion = AFPNFusion([8, 8], 0, options=("carafe",))
    (layer,) = (module for module in fusion.align.modules() if isinstance(module, Carafe))
    x = torch.randn(1, 8, 9, 9)
    mean = nn.functional.avg_pool2d(x, 5, 1)  # of the 5 x 5 places that have all neighbours
    with torch.no_grad():
        found = layer(x)[:, :, 4:-4, 4:-4]
    assert torch.allclose(found, mean.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=0.05)


def test_gradients_reach_everything() -> None:
    layer = Carafe(4, 2)
    x = torch.randn(1, 4, 3, 3, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad is not None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())
