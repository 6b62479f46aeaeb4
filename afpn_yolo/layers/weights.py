"""How much each level counts at each position: the weights of the paper's equation 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv

from afpn_yolo.layers.merge import block_diagonal, difference, softmax


class FusionWeights(nn.Module):
    """Predict how much each aligned level counts at each position (the weights of eq. 1).

    A module of its own, so that a forward hook on it sees the weight maps.

    Args:
        channels: Channels C of each aligned level.
        sources: Number of levels N.
        hidden: Channels that each level is squeezed to before the levels are compared.
    """

    pair = False  # fused, of two levels

    def __init__(self, channels: int, sources: int, hidden: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.ModuleList(Conv(channels, hidden, 1) for _ in range(sources))
        self.score = nn.Conv2d(hidden * sources, sources, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """From N aligned levels (B, C, H, W) to weights (B, N, H, W) that sum to 1 over N."""
        squeezed = [module(x) for module, x in zip(self.squeeze, levels, strict=True)]
        return torch.softmax(self.score(torch.cat(squeezed, 1)), 1)

    def fuse(self) -> None:
        """Merge the squeezes into one convolution, once their BatchNorm has been folded.

        Fused, `forward` gives the same weights; of two levels only the second's, (B, 1, H, W).
        """
        if hasattr(self, "joint"):
            return
        squeezes = [*self.squeeze]
        convs: list[Any] = [squeeze.conv for squeeze in squeezes]
        folded = not any(hasattr(squeeze, "bn") for squeeze in squeezes)
        # Of another class are convolutions that a quantiser has put in place of these.
        plain = all(type(conv) is nn.Conv2d for conv in (*convs, self.score))
        if not folded or not plain or len({squeeze.act for squeeze in squeezes}) > 1:
            return
        self.joint = block_diagonal(convs)
        self.act: Any = squeezes[0].act
        self.pair = len(self.squeeze) == 2
        if self.pair:
            self.score = difference(self.score)
        del self.squeeze
        self.forward = self.forward_fuse  # type: ignore[method-assign]

    def forward_fuse(self, levels: list[Tensor]) -> Tensor:
        """What `forward` is once fused."""
        scores = self.score(self.act(self.joint(torch.cat(levels, 1))))
        return torch.sigmoid(scores) if self.pair else softmax(scores)
