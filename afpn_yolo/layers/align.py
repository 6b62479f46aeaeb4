"""Bringing a level to the channels and the size of another."""

from __future__ import annotations

from torch import nn
from ultralytics.nn.modules.conv import Conv


def align(c_in: int, c_out: int, steps: int) -> nn.Module:
    """Bring a level to another level's channels and size (section III-B of the paper).

    Args:
        c_in: Channels of the source level.
        c_out: Channels of the target level.
        steps: How many levels coarser the source is than the target; negative if it is finer.

    Returns:
        A module from (B, c_in, H, W) to (B, c_out, H * 2**steps, W * 2**steps); the identity for 0
        steps.
    """
    if steps == 0:
        return nn.Identity()
    if steps < 0:
        factor = 2**-steps
        return Conv(c_in, c_out, factor, factor, 0)
    # The convolution comes first, on the small map: that is what keeps it cheap.
    # A module, not F.interpolate: Ultralytics' GFLOPs count modules only.
    upsample = nn.Upsample(scale_factor=2**steps, mode="bilinear", align_corners=False)
    return nn.Sequential(Conv(c_in, c_out, 1), upsample)
