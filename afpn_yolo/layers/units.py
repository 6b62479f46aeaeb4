"""Residual units, which refine a level between two fusions."""

from __future__ import annotations

from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv

from afpn_yolo.base.checks import check_int
from afpn_yolo.layers.init import init_neck, init_residual
from afpn_yolo.layers.pyramid import check_channels


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions around a bypass, activation after the addition (ResNet's basic block).

    Args:
        channels: Channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels, 3)
        self.cv2 = Conv(channels, channels, 3, act=False)
        self.act = Conv.default_act
        init_neck(self)
        init_residual(self.cv2.bn)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.act(x + self.cv2(self.cv1(x)))


class AFPNResidual(nn.Sequential):
    """A stack of residual units, as AFPN puts behind every fusion.

    Row: `[-1, 1, AFPNResidual, [repeats]]`. The units are counted in the arguments because
    Ultralytics multiplies a row's own number by the model's depth, and AFPN's three units are three
    at every scale.

    Args:
        channels: Channels in and out.
        repeats: Number of units.

    Raises:
        ValueError: On channels or repeats below 1.
    """

    def __init__(self, channels: int, repeats: int = 3) -> None:
        self.check(channels, repeats)
        super().__init__(*(ResidualUnit(channels) for _ in range(repeats)))

    @classmethod
    def check(cls, channels: int, repeats: int = 3) -> None:
        """Raise the `ValueError` that building with these arguments would raise."""
        check_channels(cls.__name__, [channels])
        check_int(cls.__name__, "repeats", repeats, 1)
