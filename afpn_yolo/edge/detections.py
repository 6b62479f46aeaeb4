"""What was found in one image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from afpn_yolo.edge.draw import draw_boxes
from afpn_yolo.edge.images import Image


@dataclass(frozen=True, eq=False)  # comparing arrays has no single truth
class Detections:
    """Boxes of one image, the highest score first.

    Attributes:
        xyxy: (N, 4) left, top, right, bottom in pixels of the image.
        scores: (N,), 0 to 1.
        class_ids: (N,), keys of `names`.
        names: Every class's number and name, found or not.
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    names: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.scores)

    def __str__(self) -> str:
        """Such as `2 person, 1 bus`."""
        counts = Counter(self._name(number) for number in self.class_ids.tolist())
        return ", ".join(f"{n} {name}" for name, n in counts.most_common()) or "nothing"

    def draw(self, image: Image) -> Image:
        """Return a copy of the image with boxes, names and scores."""
        labels = [
            f"{self._name(number)} {score:.2f}"
            for number, score in zip(self.class_ids.tolist(), self.scores.tolist(), strict=True)
        ]
        return draw_boxes(image, self.xyxy, labels, self.class_ids.tolist())

    def as_dicts(self) -> list[dict[str, object]]:
        """Plain values, for JSON: `class_id`, `name`, `score` and `xyxy`."""
        rows = zip(self.class_ids.tolist(), self.scores.tolist(), self.xyxy.tolist(), strict=True)
        return [
            {
                "class_id": number,
                "name": self._name(number),
                "score": round(score, 5),
                "xyxy": [round(value, 3) for value in box],
            }
            for number, score, box in rows
        ]

    def _name(self, number: int) -> str:
        return self.names.get(number, str(number))
