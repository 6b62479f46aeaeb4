"""CARAFE (Wang et al., 2019): upsampling whose kernels are predicted from the content."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL = 5  # of the source, around a pixel, that an output pixel is made of
ENCODER_KERNEL = 3
COMPRESSED = 64


class Carafe(nn.Module):
    """Make each output pixel a weighted mean of the 5x5 neighbourhood of its source pixel.

    The weights are predicted from the source for every output pixel, and sum to 1. Beyond the
    edge, the source is 0.

    Args:
        channels: Channels in and out.
        scale: Factor of height and width.
    """

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        weights = KERNEL**2 * scale**2
        self.compress = nn.Conv2d(channels, COMPRESSED, 1)
        self.encode = nn.Conv2d(COMPRESSED, weights, ENCODER_KERNEL, padding=ENCODER_KERNEL // 2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as the mean of the neighbourhood, or nearly."""
        nn.init.xavier_uniform_(self.compress.weight)
        nn.init.normal_(self.encode.weight, std=0.001)
        for conv in (self.compress, self.encode):
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H * scale, W * scale)."""
        batch, channels, height, width = x.shape
        kernels = self.encode(self.compress(x))
        kernels = kernels.reshape(batch, KERNEL**2, self.scale**2, height * width).softmax(1)
        around = functional.unfold(x, KERNEL, padding=KERNEL // 2)
        around = around.reshape(batch, channels, KERNEL**2, height * width)
        pixels = torch.einsum("bckn,bksn->bcsn", around, kernels.to(around.dtype))
        return functional.pixel_shuffle(
            pixels.reshape(batch, channels * self.scale**2, height, width), self.scale
        )
