"""Pooling and anchors as in MMDetection; torchvision's are up to half a pixel elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.poolers import _convert_to_roi_format, _setup_scales

LEVELS = ("0", "1", "2", "3")
SIZE = 7
ANCHORS = ((32,), (64,), (128,), (256,), (512,))
RATIOS = ((0.5, 1.0, 2.0),) * len(ANCHORS)


class AlignedRoIAlign(MultiScaleRoIAlign):  # type: ignore[misc]
    """RoIAlign whose pixels have their centres at halves, with as many samples a bin as fit."""

    def __init__(self) -> None:
        super().__init__(LEVELS, SIZE, 0)

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """From maps (B, C, H_i, W_i) and the boxes of each image, to (boxes, C, 7, 7)."""
        maps = [x[name] for name in LEVELS]
        self.scales, self.map_levels = _setup_scales(
            maps, image_shapes, self.canonical_scale, self.canonical_level
        )
        rois, levels = _convert_to_roi_format(boxes), self.map_levels(boxes)
        places, pooled = [], []
        for i, (level, scale) in enumerate(zip(maps, self.scales, strict=True)):
            places.append(torch.where(levels == i)[0])
            chosen = rois[places[-1]]
            pooled.append(
                roi_align(level, chosen, self.output_size, scale, self.sampling_ratio, aligned=True)
            )
        # Not by assignment to places: the exporter would fix how many there are.
        return torch.cat(pooled)[torch.cat(places).argsort()]


class ExactAnchors(AnchorGenerator):  # type: ignore[misc]
    """Three anchors a place whose sides are not rounded to pixels."""

    def __init__(self) -> None:
        super().__init__(ANCHORS, RATIOS)

    def generate_anchors(
        self,
        scales: Sequence[int],
        aspect_ratios: Sequence[float],
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> Tensor:
        """(anchors, 4) left, top, right, bottom around a place; a ratio is height over width."""
        sides = torch.as_tensor(scales, dtype=dtype, device=device)
        heights = torch.as_tensor(aspect_ratios, dtype=dtype, device=device).sqrt()[:, None] * sides
        widths = sides**2 / heights
        half = torch.stack((widths.flatten(), heights.flatten()), 1) / 2
        return torch.cat((-half, half), 1)
