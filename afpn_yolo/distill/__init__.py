"""Distil a trained model's neck into a fresh one, on images without labels.

A fresh neck has learnt nothing, whatever the backbone under it has. In minutes it is fitted to the
feature maps of a trained neck, a stock model's. Without torch: the command reads its defaults here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """How the neck is trained.

    Attributes:
        steps: Steps of the optimizer.
        batch: Crops in a step.
        imgsz: Side of a crop in pixels; a multiple of the coarsest level's stride.
        lr: Highest learning rate of Muon; AdamW, for all but convolutions, has half of it. It rises
            over the first twentieth of the steps, and then falls to zero.
        seed: For the order of images and the crops.
    """

    steps: int = 1500
    batch: int = 16
    imgsz: int = 256
    lr: float = 2e-2
    seed: int = 0
