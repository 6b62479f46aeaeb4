"""The 1x1 convolution of reduce, lateral and expand."""

from __future__ import annotations

from ultralytics.nn.modules.conv import Conv

from afpn_yolo.base.checks import is_number
from afpn_yolo.base.errors import short_repr
from afpn_yolo.layers.init import init_copy, init_neck, init_projection
from afpn_yolo.layers.pyramid import check_channels


class AFPNConv(Conv):  # type: ignore[misc]
    """A 1x1 convolution with BatchNorm and SiLU: reduce, lateral and expand.

    Row: `[-1, 1, AFPNConv, [channels]]`, or `[channels, 0.25]` for a quarter of what a row
    of that many comes to, whatever the scale. It is Ultralytics' `Conv` but for how it starts.

    Args:
        c_in: Channels in.
        c_out: Channels out; in a row they are multiplied by the scale's width.

    Raises:
        ValueError: On channels below 1.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        self.check(c_in, c_out)
        super().__init__(c_in, c_out, 1)
        init_neck(self)
        if c_in == c_out:
            init_copy(self.conv)
        else:
            init_projection(self.conv.weight)

    @classmethod
    def check(cls, c_in: int, c_out: int, share: float = 1) -> None:
        """Raise the `ValueError` that a row with these arguments would raise."""
        check_channels(cls.__name__, [c_in, c_out])
        if not is_number(share) or not 0 < share <= 1:
            raise ValueError(
                f"{cls.__name__}: the share of the channels must be above 0 and at most 1, "
                f"got {short_repr(share)}"
            )
