"""CARAFE (Wang et al., 2019): upsampling whose kernels are predicted from the content."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL = 5  # side of the source's neighbourhood that an output pixel is made of
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
        self.encode = nn.Conv2d(COMPRESSED, weights, 3, padding=1)
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
        around = self._around(x).reshape(batch, channels, KERNEL**2, height * width)
        # A product of matrices for each position: (C, 25) @ (25, scale**2).
        pixels = around.permute(0, 3, 1, 2) @ kernels.permute(0, 3, 1, 2).to(around.dtype)
        pixels = pixels.reshape(batch, height * width, channels * self.scale**2).transpose(1, 2)
        return functional.pixel_shuffle(
            pixels.reshape(batch, channels * self.scale**2, height, width), self.scale
        )

    def _around(self, x: Tensor) -> Tensor:
        """The 5x5 neighbourhood of every position: (B, C, H, W) -> (B, C * 25, H, W) or flat."""
        if not torch.onnx.is_in_onnx_export():
            return functional.unfold(x, KERNEL, padding=KERNEL // 2)
        # ONNX has no unfold. A convolution that picks each neighbour takes the least time there.
        channels = self.compress.in_channels
        picks = torch.eye(KERNEL**2, dtype=x.dtype, device=x.device)
        picks = picks.reshape(KERNEL**2, 1, KERNEL, KERNEL).repeat(channels, 1, 1, 1)
        return functional.conv2d(x, picks, padding=KERNEL // 2, groups=channels)
