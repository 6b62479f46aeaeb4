"""Muon: gradient descent with momentum whose steps are made orthogonal.

Ultralytics has one and torch has one, both in bfloat16: on a CPU without it they take 25 times as
long as this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ROUNDS = 5
STEP = 0.2
"""Root mean square of a step in units of the learning rate, about that of an AdamW step."""


class Muon(torch.optim.Optimizer):
    """Muon for convolutions: a weight (O, I, H, W) is taken as a matrix (O, I * H * W)."""

    def __init__(self, weights: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - MOMENTUM)
                direction = weight.grad.lerp(mean, MOMENTUM).flatten(1)  # Nesterov's
                size = STEP * max(direction.shape) ** 0.5
                step = orthogonal(direction).view_as(weight)
                weight.add_(step, alpha=-group["lr"] * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix (O, I) with all its singular values brought near 1, by Newton and Schulz."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    x = matrix / (matrix.norm() + 1e-12)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x
