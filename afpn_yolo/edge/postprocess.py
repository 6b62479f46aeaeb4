"""From the network's output to boxes, scores and classes, in pixels of its input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from afpn_yolo.edge.letterbox import Size
from afpn_yolo.edge.rotated import suppress_rotated

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

MOST = 30000  # candidates that enter the suppression, best first, as in Ultralytics
BLOCK = 64  # boxes that are compared at once
APART = 7680  # classes are moved this far apart, so that only boxes of one class meet


class Found(NamedTuple):
    """What a network found in an image.

    Attributes:
        boxes: (N, 4) left, top, right, bottom; rotated ones: centre, width, height.
        scores: (N,), falling.
        classes: (N,).
        rest: (N, E), what else it says of each: the angle, the mask's coefficients, keypoints.
    """

    boxes: Floats
    scores: Floats
    classes: Ints
    rest: Floats

    def only(self, chosen: NDArray[np.bool_] | Ints) -> Found:
        """Some of them."""
        boxes, scores, classes, rest = self
        return Found(boxes[chosen], scores[chosen], classes[chosen], rest[chosen])


def decode(
    output: Floats,
    count: int,
    conf: float,
    iou: float,
    limit: int,
    agnostic: bool,
    wanted: Sequence[int] | None = None,
    rotated: bool = False,
) -> Found:
    """Decode a raw output (4 + classes + rest, anchors): centre, width, height, scores of classes.

    Args:
        output: As above.
        count: How many classes there are.
        conf: Only scores above it count.
        iou: Of two boxes that overlap more than this, the lower score goes.
        limit: At most so many boxes.
        agnostic: Boxes of different classes suppress each other, too.
        wanted: The only classes that count. A box is of its best class, even if that is another.
        rotated: Whether the last of the rest is an angle.
    """
    end = 4 + count
    candidates = np.flatnonzero(output[4:end].max(0) > conf)
    centres, sides, scores, rest = np.split(output[:, candidates].T, (2, 4, end), axis=1)
    edges = (centres, sides) if rotated else (centres - sides / 2, centres + sides / 2)
    boxes = np.asarray(np.hstack(edges), np.float32)
    found = Found(boxes, scores.max(1), scores.argmax(1), rest)
    if wanted is not None:
        found = found.only(np.isin(found.classes, wanted))
    if len(found.scores) > MOST:
        found = found.only(np.argsort(-found.scores, kind="stable")[:MOST])
    shift = found.classes[:, None].astype(np.float32) * (0 if agnostic else APART)
    if rotated:
        moved = np.hstack((found.boxes[:, :2] + shift, found.boxes[:, 2:], found.rest[:, -1:]))
        return found.only(suppress_rotated(moved, found.scores, iou, limit))
    return found.only(suppress(found.boxes + shift, found.scores, iou, limit))


def select(output: Floats, conf: float, limit: int, wanted: Sequence[int] | None = None) -> Found:
    """Take the rows above `conf` of an output (rows, 6 + rest) without doubles: box, score, class.

    The model has suppressed them itself, or its head gives none.
    """
    taken = output[:, 4] > conf
    if wanted is not None:
        taken &= np.isin(output[:, 5], wanted)
    rows = output[taken][:limit]
    return Found(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64), rows[:, 6:])


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
    found = np.zeros(len(boxes), bool)
    for i, (box, shares) in enumerate(zip(boxes.tolist(), coefficients, strict=True)):
        # Pixels of the input, and the cells that they are interpolated from: one more on each side.
        columns = _inside(box[0], box[2], size[1])
        rows = _inside(box[1], box[3], size[0])
        if not columns or not rows:
            continue
        (top, down), (left, right) = _cells(rows, factor), _cells(columns, factor)
        part = np.tensordot(shares, prototypes[:, top:down, left:right], 1)
        drawn = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        y, x = rows.start - top * factor, columns.start - left * factor
        found[i] = bool((drawn[y : y + len(rows), x : x + len(columns)] > 0).any())
    return found


def _inside(low: float, high: float, most: int) -> range:
    """The pixels that a box covers along one side."""
    return range(max(math.ceil(low), 0), min(math.ceil(high), most))


def _cells(pixels: range, factor: int) -> tuple[int, int]:
    """First cell, and the one behind the last; slices end where the cells do."""
    return max(pixels.start // factor - 1, 0), pixels[-1] // factor + 2
