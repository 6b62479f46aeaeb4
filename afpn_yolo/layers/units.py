"""What stands between the fusions: 1x1 convolutions and residual units."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv

from afpn_yolo.base.checks import check_int
from afpn_yolo.layers.init import init_copy, init_neck


class AFPNConv(Conv):  # type: ignore[misc]
    """A 1x1 convolution with BatchNorm and SiLU: reduce, lateral and expand.

    Row: `[-1, 1, AFPNConv, [channels]]`; `[channels, 0.25]` asks for a quarter of the channels that
    such a row has, at every scale. Only its initialisation differs from Ultralytics' `Conv`.

    Args:
        c_in: Channels in.
        c_out: Channels out; in a row they are multiplied by the scale's width.

    Raises:
        ValueError: On channels below 1.
    """

    ROW: ClassVar[dict[str, int | None]] = {"channels": None, "share": 1}

    def __init__(self, c_in: int, c_out: int) -> None:
        for channels in (c_in, c_out):
            check_int(type(self).__name__, "channels", channels, 1)
        super().__init__(c_in, c_out, 1)
        init_neck(self)
        if c_in == c_out:
            init_copy(self.conv)
        else:
            nn.init.orthogonal_(self.conv.weight)


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions around a bypass, activation after the addition, as in ResNet."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels, 3)
        self.cv2 = Conv(channels, channels, 3, act=False)
        self.act = Conv.default_act
        init_neck(self)
        nn.init.zeros_(self.cv2.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.act(x + self.cv2(self.cv1(x)))


class AFPNResidual(nn.Sequential):
    """A stack of residual units, as AFPN puts after every fusion.

    Row: `[-1, 1, AFPNResidual, [repeats]]`. The number of units is an argument because Ultralytics
    multiplies a row's own number by the model's depth, and AFPN has three units at every scale.

    Args:
        channels: Channels in and out.
        repeats: Number of units.

    Raises:
        ValueError: On channels or repeats below 1.
    """

    ROW: ClassVar[dict[str, int | None]] = {"repeats": 3}

    def __init__(self, channels: int, repeats: int = 3) -> None:
        check_int(type(self).__name__, "channels", channels, 1)
        check_int(type(self).__name__, "repeats", repeats, 1)
        super().__init__(*(ResidualUnit(channels) for _ in range(repeats)))
