"""What was found in one image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from afpn_yolo.edge.draw import draw_boxes
from afpn_yolo.edge.images import Image
from afpn_yolo.edge.rotated import corners


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
