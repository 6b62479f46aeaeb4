"""From a network's output to boxes, scores and classes, in pixels of its input.

Detections are rows (N, 6 + rest), as models with NMS inside give them: left, top, right, bottom
(of rotated boxes centre, width, height), score, class, and the rest: the angle, the mask's
coefficients, keypoints.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from afpn_yolo.edge.letterbox import Floats, Size

Ints = NDArray[np.int64]

MOST = 30000  # candidates that enter the suppression, best first, as in Ultralytics
BLOCK = 64  # boxes that are compared at once
APART = 7680  # classes are moved this far apart, so that only boxes of one class meet
EPS = 1e-7  # Ultralytics' guard against division by zero, here and there


def candidates(output: Floats, classes: int, conf: float, rotated: bool) -> Floats:
    """The rows of a raw output (4 + classes + rest, anchors): centre, width, height, scores, rest.

    Args:
        output: As above.
        classes: How many classes there are.
        conf: Only anchors with a score above it become rows; each is of its best class.
        rotated: Whether the last of the rest is an angle.
    """
    end = 4 + classes
    chosen = output[:, output[4:end].max(0) > conf].T
    centres, sides, scores, rest = np.split(chosen, (2, 4, end), axis=1)
    edges = (centres, sides) if rotated else (centres - sides / 2, centres + sides / 2)
    best = (scores.max(1)[:, None], scores.argmax(1)[:, None])
    return np.hstack((*edges, *best, rest), dtype=np.float32)


def non_max_suppression(
    rows: Floats, iou: float, limit: int, agnostic: bool, rotated: bool
) -> Floats:
    """The rows that non-maximum suppression leaves, best first.

    Args:
        rows: As `candidates` gives them.
        iou: Of two boxes that overlap more than this, the lower score goes.
        limit: At most so many boxes.
        agnostic: Boxes of different classes suppress each other, too.
        rotated: Whether the last column is an angle.
    """
    rows = rows[np.argsort(-rows[:, 4], kind="stable")[:MOST]]
    shift = rows[:, 5:6] * np.float32(0 if agnostic else APART)
    if rotated:
        boxes = np.hstack((rows[:, :2] + shift, rows[:, 2:4], rows[:, -1:]))
        return rows[_suppress_rotated(boxes, iou, limit)]
    return rows[suppress(rows[:, :4] + shift, rows[:, 4], iou, limit)]


def suppress(boxes: Floats, scores: Floats, iou: float, limit: int) -> Ints:
    """Greedy non-maximum suppression.

    Among equal scores the first box wins. A pair without area has no overlap.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        scores: (N,).
        iou: Overlap above which the lower score goes.
        limit: Stop at so many.

    Returns:
        Indices of the boxes that stay, best first.
    """
    order = np.argsort(-scores, kind="stable")
    edges = np.ascontiguousarray(boxes[order].T)  # (4, N): numpy is fast along long rows only
    most = _single(iou)
    kept = np.empty(0, np.int64)  # places in `order`
    for start in range(0, len(order), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(order)))
        block = block[~_clash(edges[:, kept], edges[:, block], most).any(0)]
        clash = np.triu(_clash(edges[:, block], edges[:, block], most), 1)
        alive = np.ones(len(block), bool)
        for i in np.flatnonzero(clash.any(1)):
            if alive[i]:
                alive &= ~clash[i]
        kept = np.concatenate((kept, block[alive]))
        if len(kept) >= limit:
            break
    return np.asarray(order[kept[:limit]], np.int64)


def _clash(a: Floats, b: Floats, most: np.float32) -> NDArray[np.bool_]:
    """Which pairs of boxes (4, N) and (4, M) overlap by more than `most`: (N, M)."""
    shared = _shared(a[0], a[2], b[0], b[2]) * _shared(a[1], a[3], b[1], b[3])
    union = _areas(a)[:, None] + _areas(b) - shared
    with np.errstate(divide="ignore", invalid="ignore"):  # no area: 0 / 0, which is above nothing
        return np.asarray(shared / union > most)


def _shared(a_low: Floats, a_high: Floats, b_low: Floats, b_high: Floats) -> Floats:
    """Length that pairs of intervals share: (N, M)."""
    length = np.minimum(a_high[:, None], b_high) - np.maximum(a_low[:, None], b_low)
    return np.asarray(np.maximum(length, 0, out=length))


def _areas(boxes: Floats) -> Floats:
    return np.asarray((boxes[2] - boxes[0]) * (boxes[3] - boxes[1]))


def _single(value: float) -> np.float32:
    """The largest single-precision number not above a value.

    Ratios are compared with `iou` in double precision, as torchvision does; this gives the same.
    The nearest number may lie above: 0.6 would then suppress less.
    """
    nearest = np.float32(value)
    return np.nextafter(nearest, np.float32(-1)) if float(nearest) > value else nearest


def _suppress_rotated(boxes: Floats, iou: float, limit: int) -> Ints:
    """Fast non-maximum suppression (YOLACT), as Ultralytics does it for rotated boxes.

    A box goes if any better one overlaps it by more than `iou`, even one that has gone itself.

    Args:
        boxes: (N, 5) x and y of the centre, width, height, and radians from x towards y; the best
            first.
        iou: As above, by `_overlaps`.
        limit: Stop at so many.

    Returns:
        Indices of the boxes that stay.
    """
    kept = np.empty(0, np.int64)
    for start in range(0, len(boxes), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(boxes)))
        better = np.arange(block[-1] + 1)[:, None] < block
        alive = ~((_overlaps(boxes[: block[-1] + 1], boxes[block]) > iou) & better).any(0)
        kept = np.concatenate((kept, block[alive]))
        if len(kept) >= limit:
            break
    return kept[:limit]


def _overlaps(a: Floats, b: Floats) -> Floats:
    """How far rotated boxes (N, 5) and (M, 5) are the same (N, M), 0 to 1: Ultralytics' measure.

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


def have_masks(
    prototypes: Floats, coefficients: Floats, boxes: Floats, size: Size
) -> NDArray[np.bool_]:
    """Whether the mask of a box, drawn up to the input's size, has a pixel within it.

    Args:
        prototypes: (C, h, w), of which masks are sums.
        coefficients: (N, C), the share of each.
        boxes: (N, 4) left, top, right, bottom in pixels of the input.
        size: Height and width of the input, whole multiples of h and w.
    """
    factor = size[0] // prototypes.shape[1]
    filled = np.zeros(len(boxes), bool)
    pixels = np.clip(np.ceil(boxes), 0, size[::-1] * 2).astype(int)
    for i, (left, top, right, bottom) in enumerate(pixels.tolist()):
        # The cells that these pixels are interpolated from: one more on each side.
        row, column = max(top // factor - 1, 0), max(left // factor - 1, 0)
        part = prototypes[:, row : bottom // factor + 2, column : right // factor + 2]
        mask = cv2.resize(np.tensordot(coefficients[i], part, 1), None, fx=factor, fy=factor)
        y, x = row * factor, column * factor
        filled[i] = (mask[top - y : bottom - y, left - x : right - x] > 0).any()
    return filled
