"""Muon: what its steps are, and that they learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from afpn_yolo.distill.muon import MOMENTUM, STEP, Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16), (1, 9)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    result = orthogonal(left @ torch.diag(torch.linspace(0.5, 5, min(shape))) @ right)
    values = torch.linalg.svdvals(result)
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    assert torch.trace(left.T @ result @ right.T) > 0.6 * min(shape)  # the directions are kept


def test_first_step() -> None:
    """Against a loop: the gradient itself, made orthogonal, at the size of the learning rate."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(6, 4, 3, 3))
    before = weight.detach().clone()
    weight.grad = torch.randn_like(weight)
    Muon([weight], lr=0.1).step()
    mean = (1 - MOMENTUM) * weight.grad
    direction = (1 - MOMENTUM) * weight.grad + MOMENTUM * mean
    expected = before - 0.1 * STEP * 36**0.5 * orthogonal(direction.flatten(1)).view(6, 4, 3, 3)
    torch.testing.assert_close(weight.detach(), expected)
    step = (weight.detach() - before).pow(2).mean().sqrt()
    assert float(step) == pytest.approx(0.1 * STEP, rel=0.3)


def test_it_fits_a_convolution() -> None:
    torch.manual_seed(0)
    goal, conv = nn.Conv2d(4, 8, 3, bias=False), nn.Conv2d(4, 8, 3, bias=False)
    optimizer = Muon(conv.parameters(), lr=0.02)
    x = torch.randn(16, 4, 9, 9)
    errors = []
    for _ in range(60):
        error = (conv(x) - goal(x)).pow(2).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.05 * errors[0]
