"""The detections of one image, and how they are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from afpn_yolo.edge.images import Image, as_bgr

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

    def draw(self, image: Image) -> Image:
        """Return a colour copy of the image with boxes, names and scores."""
        picture = as_bgr(image, "image").copy()
        width = max(round(sum(picture.shape[:2]) / 2 * 0.003), 1)
        if self.xywhr is None:
            corners = self.xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        else:
            corners = rotated_corners(self.xywhr)
        boxes = np.rint(corners).astype(np.int32)
        colours = [COLOURS[number % len(COLOURS)] for number in self.class_ids.tolist()]
        worst_first = range(len(self))[::-1]
        for i in worst_first:
            cv2.polylines(picture, [boxes[i]], True, colours[i], width, cv2.LINE_AA)
        for i in worst_first:  # over all boxes
            label = f"{self._name(int(self.class_ids[i]))} {self.scores[i]:.2f}"
            left, top = boxes[i].min(0).tolist()
            _write(picture, left, top, label, colours[i], width)
        return picture

    def as_dicts(self) -> list[dict[str, object]]:
        """Plain values, for JSON: `class_id`, `name`, `score`, `xyxy`, of rotated boxes `xywhr`."""
        boxes = {"xyxy": self.xyxy}
        if self.xywhr is not None:
            boxes["xywhr"] = self.xywhr
        plain = {key: rows.astype(float).round(3).tolist() for key, rows in boxes.items()}
        return [
            {
                "class_id": number,
                "name": self._name(number),
                "score": round(float(self.scores[i]), 5),
                **{key: rows[i] for key, rows in plain.items()},
            }
            for i, number in enumerate(self.class_ids.tolist())
        ]

    def _name(self, number: int) -> str:
        return self.names.get(number, str(number))


def rotated_corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The corners (N, 4, 2) of boxes (N, 5) as `xywhr`, neighbours side by side."""
    cos, sin = np.cos(boxes[:, 4:]), np.sin(boxes[:, 4:])
    half = boxes[:, 2:4] / 2
    along = np.hstack((half[:, :1] * cos, half[:, :1] * sin))
    across = np.hstack((-half[:, 1:] * sin, half[:, 1:] * cos))
    turns = (along + across, along - across, -along - across, across - along)
    return np.stack([np.asarray(boxes[:, :2] + turn, np.float32) for turn in turns], 1)


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
