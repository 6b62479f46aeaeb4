"""Rotated boxes (N, 5): x and y of the centre, width, height, and radians from x towards y."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]

BLOCK = 64  # boxes that are compared with all better ones at once
EPS = 1e-7  # Ultralytics' guard against division by zero, here and there


def corners(boxes: Floats) -> Floats:
    """The corners (N, 4, 2), neighbours side by side."""
    cos, sin = np.cos(boxes[:, 4:]), np.sin(boxes[:, 4:])
    half = boxes[:, 2:4] / 2
    along = np.hstack((half[:, :1] * cos, half[:, :1] * sin))
    across = np.hstack((-half[:, 1:] * sin, half[:, 1:] * cos))
    centre = boxes[:, :2]
    turns = (along + across, along - across, -along - across, across - along)
    return np.stack([np.asarray(centre + turn, np.float32) for turn in turns], 1)


def envelope(boxes: Floats) -> Floats:
    """The upright boxes around them (N, 4): left, top, right, bottom."""
    points = corners(boxes)
    return np.asarray(np.hstack((points.min(1), points.max(1))), np.float32)


def overlaps(a: Floats, b: Floats) -> Floats:
    """How far boxes (N, 5) and (M, 5) are the same (N, M), 0 to 1: Ultralytics' measure.

    It takes boxes for normal distributions and is 1 minus their Hellinger distance (Llerena et al.,
    2021).
    """
    (xx, yy, xy), (xx_b, yy_b, xy_b) = (_covariance(boxes) for boxes in (a[:, None], b[None]))
    dx, dy = a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1]
    sum_xx, sum_yy, sum_xy = xx + xx_b, yy + yy_b, xy + xy_b
    both = sum_xx * sum_yy - sum_xy**2
    apart = (sum_xx * dy**2 + sum_yy * dx**2) / (both + EPS) * 0.25
    apart -= sum_xy * dx * dy / (both + EPS) * 0.5
    each = np.maximum(xx * yy - xy**2, 0) * np.maximum(xx_b * yy_b - xy_b**2, 0)
    with np.errstate(invalid="ignore"):  # no area: a root of rounding errors, above nothing
        apart += np.log(both / (4 * np.sqrt(each) + EPS) + EPS) * 0.5
    return np.asarray(1 - np.sqrt(1 - np.exp(-np.clip(apart, EPS, 100)) + EPS))


def _covariance(boxes: Floats) -> tuple[Floats, Floats, Floats]:
    """xx, yy and xy of boxes (..., 5), taken for even distributions."""
    along, across = boxes[..., 2] ** 2 / 12, boxes[..., 3] ** 2 / 12
    cos, sin = np.cos(boxes[..., 4]), np.sin(boxes[..., 4])
    xx, yy = along * cos**2 + across * sin**2, along * sin**2 + across * cos**2
    return xx, yy, np.asarray((along - across) * cos * sin, np.float32)


def suppress_rotated(boxes: Floats, scores: Floats, iou: float, limit: int) -> NDArray[np.int64]:
    """Fast non-maximum suppression (YOLACT), as Ultralytics does it for rotated boxes.

    A box goes if any better one overlaps it by more than `iou`, even one that has gone itself.

    Args:
        boxes: (N, 5).
        scores: (N,).
        iou: As above, by `overlaps`.
        limit: Stop at so many.

    Returns:
        Indices of the boxes that stay, best first.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, kept = boxes[order], np.empty(0, np.int64)
    for start in range(0, len(order), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(order)))
        better = np.arange(block[-1] + 1)[:, None] < block
        alive = ~((overlaps(ranked[: block[-1] + 1], ranked[block]) > iou) & better).any(0)
        kept = np.concatenate((kept, block[alive]))
        if len(kept) >= limit:
            break
    return np.asarray(order[kept[:limit]], np.int64)
