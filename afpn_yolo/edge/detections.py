"""The detections of one image, and how they are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from afpn_yolo.edge.images import Image, as_bgr
from afpn_yolo.edge.rotated import corners

Colour = tuple[int, int, int]  # BGR

# Apart from each other, and from skin, foliage and sky.
COLOURS: tuple[Colour, ...] = (
    *((56, 56, 255), (255, 144, 30), (40, 180, 60), (0, 200, 255), (211, 0, 148)),
    *((208, 200, 0), (0, 110, 255), (180, 60, 90), (190, 130, 255), (0, 130, 110)),
)
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, eq=False)  # comparing arrays has no single truth
class Detections:
    """Boxes of one image, the highest score first.

    Attributes:
        xyxy: (N, 4) left, top, right, bottom in pixels of the image; of rotated boxes, what they
            reach.
        scores: (N,), 0 to 1.
        class_ids: (N,), keys of `names`.
        names: Every class's number and name, found or not.
        xywhr: (N, 5) of rotated boxes: x and y of the centre, width, height in pixels of the image,
            and the angle in radians. None for a model of upright boxes.
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    names: Mapping[int, str]
    xywhr: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __str__(self) -> str:
        """Such as `2 person, 1 bus`."""
        counts = Counter(self._name(number) for number in self.class_ids.tolist())
        return ", ".join(f"{n} {name}" for name, n in counts.most_common()) or "nothing"

    @property
    def corners(self) -> NDArray[np.float32]:
        """(N, 4, 2) x and y of each box's corners, neighbours side by side."""
        if self.xywhr is not None:
            return corners(self.xywhr)
        return self.xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)

    def draw(self, image: Image) -> Image:
        """Return a copy of the image with boxes, names and scores."""
        labels = [
            f"{self._name(number)} {score:.2f}"
            for number, score in zip(self.class_ids.tolist(), self.scores.tolist(), strict=True)
        ]
        return draw_boxes(image, self.corners, labels, self.class_ids.tolist())

    def as_dicts(self) -> list[dict[str, object]]:
        """Plain values, for JSON: `class_id`, `name`, `score`, `xyxy`, of rotated boxes `xywhr`."""
        boxes = {"xyxy": self.xyxy}
        if self.xywhr is not None:
            boxes["xywhr"] = self.xywhr
        plain = {key: rows.astype(float).round(3) for key, rows in boxes.items()}
        return [
            {
                "class_id": number,
                "name": self._name(number),
                "score": round(score, 5),
                **{key: rows[i].tolist() for key, rows in plain.items()},
            }
            for i, (number, score) in enumerate(
                zip(self.class_ids.tolist(), self.scores.tolist(), strict=True)
            )
        ]

    def _name(self, number: int) -> str:
        return self.names.get(number, str(number))


def draw_boxes(
    image: Image, corners: NDArray[np.float32], labels: Sequence[str], classes: Sequence[int]
) -> Image:
    """Return a colour copy with boxes (N, 4, 2); every class has a colour, every box its label."""
    picture = np.ascontiguousarray(as_bgr(image, "image")).copy()
    width = max(round(sum(picture.shape[:2]) / 2 * 0.003), 1)
    rows = list(zip(np.rint(corners).astype(np.int32), labels, classes, strict=True))
    for box, _, number in rows[::-1]:
        cv2.polylines(picture, [box], True, _colour(number), width, cv2.LINE_AA)
    for box, label, number in rows[::-1]:  # over all boxes, the best score on top
        left, top = box.min(0).tolist()
        _write(picture, left, top, label, _colour(number), width)
    return picture


def _colour(number: int) -> Colour:
    return COLOURS[number % len(COLOURS)]


def _write(picture: Image, left: int, top: int, text: str, colour: Colour, width: int) -> None:
    """Write a label above a box's corner, inside the picture as far as it fits."""
    scale, thickness = max(width / 4, 0.4), max(width // 2, 1)
    (wide, tall), below = cv2.getTextSize(text, FONT, scale, thickness)
    height = tall + below + 2
    x = max(min(left, picture.shape[1] - wide - 2), 0)
    y = max(top - height, 0)
    cv2.rectangle(picture, (x, y), (x + wide + 2, y + height), colour, cv2.FILLED)
    light = colour[0] * 0.114 + colour[1] * 0.587 + colour[2] * 0.299
    ink = (0, 0, 0) if light > 140 else (255, 255, 255)
    at = (x + 1, y + tall + 1)
    cv2.putText(picture, text, at, FONT, scale, ink, thickness, cv2.LINE_AA)
