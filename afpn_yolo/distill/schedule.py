"""How a neck is taught. Without torch: the command reads its defaults here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """How the neck is taught.

    Attributes:
        steps: Steps of the optimiser.
        batch: Crops in a step.
        imgsz: Side of a crop in pixels; a multiple of the coarsest level's stride.
        lr: Highest learning rate of AdamW. It rises over the first tenth of the steps, and then
            falls to zero.
        seed: For the order of images and the crops.
    """

    steps: int = 1500
    batch: int = 16
    imgsz: int = 256
    lr: float = 3e-2
    seed: int = 0
