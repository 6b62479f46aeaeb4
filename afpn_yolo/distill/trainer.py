"""Fit the student's neck to the teacher's, step by step; a stopped training can be resumed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from afpn_yolo.base.files import written_whole
from afpn_yolo.distill import Schedule
from afpn_yolo.distill.dataset import RandomCrops
from afpn_yolo.distill.models import TeacherStudent
from afpn_yolo.upstream.loading import move

SAVE_EVERY = 100  # steps
EVALUATED = 64  # crops of the images held back


def normalized_mse(student: Tensor, teacher: Tensor, variance: Tensor) -> Tensor:
    """Mean squared error over the teacher's variance: 0 is perfect, 1 no better than its mean.

    Args:
        student, teacher: (B, C, H, W), a level of each.
        variance: The teacher's, a scalar.
    """
    return ((student - teacher) ** 2).mean() / variance


def level_variances(levels: Sequence[Tensor]) -> Tensor:
    """Each level's variance around its channels' means, one number a level."""
    return torch.stack([level.var((0, 2, 3)).mean() for level in levels])


def _checked(variance: Tensor, images: Sequence[Path]) -> Tensor:
    """The variances, one a level, by which errors can be divided."""
    if not bool((variance > 0).all() and variance.isfinite().all()):
        names = f"{images[0]}{', ...' if len(images) > 1 else ''}"
        raise ValueError(
            f"{names}: the teacher's outputs are constant or not finite on these {len(images)} "
            "images; are they blank? Take others, or more"
        )
    return variance


class DistillationTrainer:
    """The training of a student's neck, which can be stopped and resumed.

    Args:
        models: Teacher and student.
        images: Image files to learn from.
        held_back: Image files to evaluate on.
        schedule: How it is trained.
        state: File with the progress so far, until the end.
        device: Where to compute, as `yolo` takes it.

    Attributes:
        before: `evaluate` of the untrained neck.

    Raises:
        ValueError: When there is no such device, or the teacher's outputs are constant.
    """

    def __init__(
        self,
        models: TeacherStudent,
        images: Sequence[Path],
        held_back: Sequence[Path],
        schedule: Schedule,
        state: Path,
        device: str,
    ) -> None:
        self.models, self.schedule, self.state = models, schedule, state
        self.images, self.held_back = [*images], [*held_back]
        for model in (models.teacher, models.student):
            move(model, device)
        self.device = next(models.student.parameters()).device
        self.optimizer = torch.optim.AdamW(models.neck.parameters(), lr=schedule.lr, weight_decay=0)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, schedule.lr, total_steps=schedule.steps + 1, pct_start=0.1
        )
        self.step = 0
        crops = self._crops(self.images, schedule.batch)
        batch = torch.stack([crops[i] for i in range(len(crops))]).to(self.device)
        self.variance = _checked(level_variances(models.levels(batch)[1]), self.images)
        self.before = self.evaluate()
        self._resume()

    def _crops(
        self, images: Sequence[Path], length: int, first: int = 0, shift: int = 0
    ) -> RandomCrops:
        """Crops for the schedule; another shift, other crops."""
        side, seed = self.schedule.imgsz, self.schedule.seed + shift
        return RandomCrops(images, side, seed, length, first, self.models.channels)

    def run(self, progress: Callable[[int, list[float]], None]) -> None:
        """Train to the last step; `progress` gets the step and each level's normalised MSE.

        Raises:
            ValueError: When the loss is not finite any more.
        """
        schedule, neck = self.schedule, self.models.neck
        first, length = self.step * schedule.batch, schedule.steps * schedule.batch
        crops = self._crops(self.images, length, first)
        neck.train()
        for images in DataLoader(crops, batch_size=schedule.batch):
            levels = zip(*self.models.levels(images.to(self.device)), self.variance, strict=True)
            errors = torch.stack([normalized_mse(*level) for level in levels])
            self.optimizer.zero_grad()
            errors.sum().backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(neck.parameters(), 10.0)
            self.optimizer.step()
            self.scheduler.step()
            self.step += 1
            values = errors.detach().tolist()
            if not all(map(math.isfinite, values)):
                raise ValueError(f"the loss of step {self.step} is {sum(values)}; take a lower lr")
            progress(self.step, values)
            if self.step % SAVE_EVERY == 0:
                self._save()
        neck.eval()

    def evaluate(self) -> list[float]:
        """The share of the teacher's variance that each level explains, on images held back.

        Raises:
            ValueError: When the teacher's outputs are constant.
        """
        crops = self._crops(self.held_back, EVALUATED, shift=1)
        error, variance = torch.zeros_like(self.variance), torch.zeros_like(self.variance)
        self.models.neck.eval()
        with torch.no_grad():
            for images in DataLoader(crops, batch_size=self.schedule.batch):
                student, teacher = self.models.levels(images.to(self.device))
                pairs = zip(student, teacher, strict=True)
                error += torch.stack([((a - b) ** 2).mean() for a, b in pairs])
                variance += level_variances(teacher)
        return (1 - error / _checked(variance, self.held_back)).tolist()

    def _save(self) -> None:
        content = {
            "key": self._key(),
            "step": self.step,
            "neck": self.models.neck.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
        }
        with written_whole(self.state) as part:
            torch.save(content, part)

    def _resume(self) -> None:
        """Go on from `state`, if it is of this same training."""
        if not self.state.exists():
            return
        try:
            content = torch.load(self.state, map_location=self.device, weights_only=True)
            same = content["key"] == self._key()
        except Exception:  # a file that is cut short, or another program's
            same = False
        if same:
            self.models.neck.load_state_dict(content["neck"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.scheduler.load_state_dict(content["scheduler"])
            self.step = int(content["step"])

    def _key(self) -> str:
        """A digest of schedule, images, teacher and the student's shape."""
        digest = hashlib.sha256(repr((self.schedule, [str(p) for p in self.images])).encode())
        for tensor in self.models.teacher.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
        for name, tensor in self.models.neck.state_dict().items():
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
        return digest.hexdigest()
