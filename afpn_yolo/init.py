"""How AFPN's layers start, before the first training step.

The numbers are those of the authors' code: Xavier-normal convolutions with gain 0.02, BatchNorm
scales from N(1, 0.02). One thing is ours: the last scale of each residual unit starts at zero, so
that a stack of units starts as its bypass. What the network computes is not changed by it.
"""

from __future__ import annotations

from torch import nn

GAIN = 0.02
SCALE_STD = 0.02


def init_neck(module: nn.Module) -> None:
    """Draw every convolution's weight and every BatchNorm's scale below `module` anew."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.xavier_normal_(m.weight, GAIN)
        elif isinstance(m, nn.BatchNorm2d):
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
