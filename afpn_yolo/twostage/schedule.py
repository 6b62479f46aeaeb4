"""How long a detector is trained, and when its learning rate falls."""

from __future__ import annotations

from dataclasses import dataclass

from afpn_yolo.base.checks import check_int

PAPER_RATE = 0.01
PAPER_BATCH = 8  # on two GPUs
WARMUP_START = 0.001
GAMMA = 0.1


@dataclass(frozen=True)
class Schedule:
    """Epochs, and after which of them the learning rate is divided by ten."""

    epochs: int
    steps: tuple[int, ...]

    def rate(self, epoch: int, iteration: int, warmup: int) -> float:
        """The factor of the learning rate.

        Args:
            epoch: From 0 on.
            iteration: From 0 on, over all epochs.
            warmup: Iterations in which it rises to 1, in a straight line from 0.001.
        """
        fallen = GAMMA ** sum(epoch >= step for step in self.steps)
        if iteration >= warmup:
            return fallen
        return fallen * (WARMUP_START + (1 - WARMUP_START) * iteration / warmup)


SCHEDULES = {
    "1x": Schedule(12, (8, 11)),
    "2x": Schedule(24, (16, 22)),
    "36": Schedule(36, (27, 33)),
}
"""By name: Table III's two, and that of Tables I and II."""


def schedule_of(name: str = "1x", epochs: int | None = None) -> Schedule:
    """One of `SCHEDULES`, or so many epochs with steps in the proportions of 1x.

    Raises:
        ValueError: On an unknown name, or fewer than 1 epoch.
    """
    if epochs is not None:
        check_int("train-rcnn", "epochs", epochs, 1)
        return Schedule(epochs, (round(epochs * 2 / 3), round(epochs * 11 / 12)))
    if name not in SCHEDULES:
        raise ValueError(f"schedule {name!r}: choose one of {', '.join(SCHEDULES)}")
    return SCHEDULES[name]


def learning_rate(batch: int) -> float:
    """The paper's 0.01 at its batch of 8, in proportion to the batch (the linear rule)."""
    return PAPER_RATE * batch / PAPER_BATCH
