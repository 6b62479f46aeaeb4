"""Bringing a level to the channels and the size of another."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from ultralytics.nn.modules.conv import Conv

from afpn_yolo.layers.carafe import Carafe

OPTIONS = {
    "plain": "levels are aligned without BatchNorm and activation",
    "padded": "strided convolutions are padded by (k - 1) // 2",
    "carafe": "CARAFE in place of bilinear upsampling",
    "nearest": "nearest in place of bilinear upsampling, which some accelerators don't have",
}
"""Words at the end of a fusion's row, and what they change."""


def align(c_in: int, c_out: int, steps: int, options: Sequence[str] = ()) -> nn.Module:
    """Bring a level to another level's channels and size (section III-B of the paper).

    Args:
        c_in: Channels of the source level.
        c_out: Channels of the target level.
        steps: How many levels coarser the source is than the target; negative if it is finer.
        options: Some of `OPTIONS`. The authors' two-stage code is `padded`, their YOLOv5 code not.

    Returns:
        A module from (B, c_in, H, W) to (B, c_out, H * 2**steps, W * 2**steps); the identity for 0
        steps.
    """
    if steps == 0:
        return nn.Identity()
    stride = 2 ** max(-steps, 0)
    padding = (stride - 1) // 2 if "padded" in options else 0
    conv: nn.Module
    if "plain" in options:
        conv = nn.Conv2d(c_in, c_out, stride, stride, padding, bias=False)
    else:
        conv = Conv(c_in, c_out, stride, stride, padding)
    if steps < 0:
        return conv
    # The convolution comes first, on the small map: that is what keeps it cheap.
    # A module, not F.interpolate: Ultralytics' GFLOPs count modules only.
    if "carafe" in options:
        return nn.Sequential(conv, Carafe(c_out, 2**steps))
    if "nearest" in options:
        return nn.Sequential(conv, nn.Upsample(scale_factor=2**steps))
    upsample = nn.Upsample(scale_factor=2**steps, mode="bilinear", align_corners=False)
    return nn.Sequential(conv, upsample)
