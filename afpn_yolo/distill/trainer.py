"""Fit the student's neck to the teacher's, step by step; stop and go on at will."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from afpn_yolo.base.files import written_whole
from afpn_yolo.distill.dataset import Views
from afpn_yolo.distill.models import Lesson
from afpn_yolo.distill.schedule import Schedule
from afpn_yolo.upstream.loading import move

SAVE_EVERY = 100  # steps


def missed(got: Tensor, goal: Tensor, variance: Tensor) -> Tensor:
    """Mean squared error over the teacher's variance: 0 is perfect, 1 no better than its mean.

    Args:
        got: (B, C, H, W), the student's level.
        goal: (B, C, H, W), the teacher's.
        variance: The teacher's, a scalar.
    """
    return ((got - goal) ** 2).mean() / variance


def spread(levels: Sequence[Tensor]) -> Tensor:
    """Each level's variance around its channels' means, one number a level."""
    return torch.stack([level.var((0, 2, 3)).mean() for level in levels])


def _varied(variance: Tensor, images: Sequence[Path]) -> Tensor:
    """Return the variances, one a level, unless one is zero or no number: shares need them."""
    if not bool((variance > 0).all() and variance.isfinite().all()):
        names = f"{images[0]}{', ...' if len(images) > 1 else ''}"
        raise ValueError(
            f"{names}: the teacher gives the same everywhere, or no numbers; "
            f"are they blank? ({len(images)} in all) Give others, or more"
        )
    return variance


class Teaching:
    """The training of a student's neck, which can be stopped and taken up again.

    Args:
        lesson: Teacher and student.
        images: Image files to learn from.
        held_back: Image files to measure with.
        schedule: How.
        state: File that keeps what has been done, until the end.
        device: Where to compute, as `yolo` takes it.

    Raises:
        ValueError: When there is no such device, or the teacher gives the same for all images.
    """

    def __init__(
        self,
        lesson: Lesson,
        images: Sequence[Path],
        held_back: Sequence[Path],
        schedule: Schedule,
        state: Path,
        device: str,
    ) -> None:
        self.lesson = lesson
        self.schedule = schedule
        self.state = state
        self.images = [*images]
        self.held_back = [*held_back]
        for model in (lesson.teacher, lesson.student):
            move(model, device)
        self.device = next(lesson.student.parameters()).device
        self.optimizer = torch.optim.AdamW(lesson.neck.parameters(), lr=schedule.lr, weight_decay=0)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, schedule.lr, total_steps=schedule.steps + 1, pct_start=0.1
        )
        self.step = 0
        self.variance = _varied(spread(self._goal()), self.images)
        self.before = self.measure()
        self._resume()

    def _goal(self) -> list[Tensor]:
        """The teacher's levels for a first batch."""
        views = self._views(self.images, self.schedule.batch)
        images = torch.stack([views[i] for i in range(len(views))])
        return self.lesson.levels(images.to(self.device))[1]

    def _views(self, images: Sequence[Path], length: int, first: int = 0, shift: int = 0) -> Views:
        """Crops by the schedule; another shift, other crops."""
        side, seed = self.schedule.imgsz, self.schedule.seed + shift
        return Views(images, side, seed, length, first, self.lesson.channels)

    def run(self, progress: Callable[[int, list[float]], None]) -> None:
        """Teach up to the last step; `progress` hears the step and the share missed per level.

        Raises:
            ValueError: When the student's answers are no numbers any more.
        """
        schedule, neck = self.schedule, self.lesson.neck
        first, length = self.step * schedule.batch, schedule.steps * schedule.batch
        views = self._views(self.images, length, first)
        neck.train()
        for images in DataLoader(views, batch_size=schedule.batch):
            got, goal = self.lesson.levels(images.to(self.device))
            each = torch.stack(
                [missed(a, b, v) for a, b, v in zip(got, goal, self.variance, strict=True)]
            )
            self.optimizer.zero_grad()
            each.sum().backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(neck.parameters(), 10.0)
            self.optimizer.step()
            self.scheduler.step()
            self.step += 1
            shares = each.detach().tolist()
            if not all(map(math.isfinite, shares)):
                raise ValueError(f"the loss of step {self.step} is {sum(shares)}; take a lower lr")
            progress(self.step, shares)
            if self.step % SAVE_EVERY == 0:
                self._save()
        neck.eval()

    def measure(self, count: int = 64) -> list[float]:
        """The share of the teacher's variance that each level explains, on images held back.

        Raises:
            ValueError: When the teacher gives the same for all of them.
        """
        views = self._views(self.held_back, count, shift=1)
        error, total = torch.zeros_like(self.variance), torch.zeros_like(self.variance)
        self.lesson.neck.eval()
        with torch.no_grad():
            for batch in DataLoader(views, batch_size=self.schedule.batch):
                got, goal = self.lesson.levels(batch.to(self.device))
                pairs = zip(got, goal, strict=True)
                error += torch.stack([((a - b) ** 2).mean() for a, b in pairs])
                total += spread(goal)
        return (1 - error / _varied(total, self.held_back)).tolist()

    def _save(self) -> None:
        kept = {
            "key": self._key(),
            "step": self.step,
            "neck": self.lesson.neck.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
        }
        with written_whole(self.state) as part:
            torch.save(kept, part)

    def _resume(self) -> None:
        """Take up what `state` holds, if that is this same teaching."""
        if not self.state.exists():
            return
        try:
            kept = torch.load(self.state, map_location=self.device, weights_only=True)
            same = kept["key"] == self._key()
        except Exception:  # a file that is cut short, or another program's
            same = False
        if same:
            self.lesson.neck.load_state_dict(kept["neck"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.scheduler.load_state_dict(kept["scheduler"])
            self.step = int(kept["step"])

    def _key(self) -> str:
        """What makes two teachings the same: schedule, images, teacher and the student's shape."""
        digest = hashlib.sha256(repr((self.schedule, [str(p) for p in self.images])).encode())
        for tensor in self.lesson.teacher.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
        for name, tensor in self.lesson.neck.state_dict().items():
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
        return digest.hexdigest()
