"""Fit the student's neck to the teacher's, step by step; a stopped training can be resumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms import v2

from afpn_yolo.base.files import written_whole
from afpn_yolo.distill import Schedule
from afpn_yolo.distill.models import Levels, TeacherStudent
from afpn_yolo.distill.muon import Muon
from afpn_yolo.edge.images import read
from afpn_yolo.evaluation.fingerprint import tensor_digest
from afpn_yolo.upstream.loading import move

SAVE_EVERY = 100  # steps
SLOW = 0.2  # share of the learning rate for what has learnt something already
EVALUATED = 64  # crops of the images held back


class RandomCrops(Dataset[Tensor]):
    """Random crops (C, imgsz, imgsz), RGB or grey from 0 to 1, of images taken in random order.

    There are `length` items; item k is the same in every process and after every restart. `imgsz`
    is the side in pixels, `channels` 3, or 1 for grey.
    """

    def __init__(
        self, images: Sequence[Path], imgsz: int, seed: int, length: int, channels: int = 3
    ) -> None:
        self.images, self.seed, self.length, self.channels = [*images], seed, length, channels
        self.augment = v2.Compose(
            [
                v2.RandomResizedCrop(imgsz, scale=(0.2, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.4, 0.4, 0.5, 0.015),
            ]
        )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, k: int) -> Tensor:
        epoch, place = divmod(k, len(self.images))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.images), generator=generator)
        pixels: NDArray[Any] = read(self.images[int(order[place])])
        if self.channels == 1:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[..., None]
        image = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + k)
            crop: Tensor = self.augment(image)
        return crop.float() / 255


class DistillationTrainer:
    """The training of a student's neck, which can be stopped and resumed.

    Args:
        images, held_back: Image files to learn from, and to evaluate on.
        state: File with the progress so far, until the end.
        device: As `yolo` takes it.
        given: Parameters that have learnt something already; they change more slowly.

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
        given: Sequence[nn.Parameter] = (),
    ) -> None:
        self.models, self.schedule, self.state = models, schedule, state
        self.images, self.held_back = [*images], [*held_back]
        # Whether a state is of this same training.
        shapes = {name: [*tensor.shape] for name, tensor in models.neck.state_dict().items()}
        teacher = tensor_digest(models.teacher.state_dict())
        self.key = repr((schedule, [str(image) for image in images], shapes, teacher))
        for model in (models.teacher, models.student):
            move(model, device)
        self.device = next(models.student.parameters()).device
        optimizers = _optimizers(models.neck, {id(p) for p in given}, schedule.lr)
        self.parts: list[Any] = [*optimizers, *(LambdaLR(each, self._lr) for each in optimizers)]
        self.step = 0
        batch = next(iter(self._batches(self.images, schedule.batch)))
        self.variance = _variances(models.levels(batch)[1])
        self.before = self.evaluate()
        self._resume()

    def _lr(self, step: int) -> float:
        """Share of the highest learning rate: up in a twentieth of the steps, down by a cosine."""
        share = step / self.schedule.steps
        return min(share * 20 + 1 / self.schedule.steps, (1 + math.cos(math.pi * share)) / 2)

    def _batches(
        self, images: Sequence[Path], length: int, first: int = 0, shift: int = 0
    ) -> Iterator[Tensor]:
        """Batches of crops, from the first one on; another shift, other crops."""
        imgsz, seed = self.schedule.imgsz, self.schedule.seed + shift
        crops = RandomCrops(images, imgsz, seed, length, self.models.channels)
        for batch in DataLoader(Subset(crops, range(first, length)), self.schedule.batch):
            yield batch.to(self.device)

    def run(self, progress: Callable[[int, list[float]], None]) -> None:
        """Train to the last step; `progress` gets the step and each level's normalised MSE.

        0 is perfect, 1 no better than the teacher's mean.

        Raises:
            ValueError: When the loss is not finite any more.
        """
        schedule, neck = self.schedule, self.models.neck
        first, length = self.step * schedule.batch, schedule.steps * schedule.batch
        neck.train()
        for images in self._batches(self.images, length, first):
            student, teacher = self.models.levels(images)
            weights = self.models.weights(teacher)
            errors = _errors(student, teacher, weights) / self.variance
            neck.zero_grad()
            errors.sum().backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(neck.parameters(), 10.0)
            for part in self.parts:
                part.step()
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
        self.models.neck.eval()
        errors, variances = [], []
        with torch.no_grad():
            for images in self._batches(self.held_back, EVALUATED, shift=1):
                student, teacher = self.models.levels(images)
                errors.append(_errors(student, teacher))
                variances.append(_variances(teacher))
        variance = torch.stack(variances).sum(0)
        if not bool((variance > 0).all() and variance.isfinite().all()):
            raise ValueError(
                f"{self.held_back[0]}: the teacher's outputs are constant or not finite on the "
                f"{len(self.held_back)} images held back; are they blank? Take others, or more"
            )
        return (1 - torch.stack(errors).sum(0) / variance).tolist()

    def _save(self) -> None:
        content = {
            "key": self.key,
            "step": self.step,
            "neck": self.models.neck.state_dict(),
            "parts": [part.state_dict() for part in self.parts],
        }
        with written_whole(self.state) as part:
            torch.save(content, part)

    def _resume(self) -> None:
        """Go on from `state`, if it is of this same training."""
        try:
            content = torch.load(self.state, map_location=self.device, weights_only=True)
            if content["key"] != self.key:
                return
        except Exception:  # there is none, it is cut short, or another program's
            return
        self.models.neck.load_state_dict(content["neck"])
        for part, state in zip(self.parts, content["parts"], strict=True):
            part.load_state_dict(state)
        self.step = content["step"]


def _optimizers(neck: nn.Module, given: set[int], lr: float) -> list[torch.optim.Optimizer]:
    """Muon for convolutions, AdamW for the rest; `given` are the ids of slower parameters."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for weight in neck.parameters():
        groups.setdefault((weight.ndim == 4, id(weight) in given), []).append(weight)
    optimizers: list[torch.optim.Optimizer] = []
    for (kernels, slow), weights in groups.items():
        rate = lr * SLOW if slow else lr
        optimizers.append(
            Muon(weights, rate) if kernels else torch.optim.AdamW(weights, rate / 2, weight_decay=0)
        )
    return optimizers


def _errors(student: Levels, teacher: Levels, weights: Levels | None = None) -> Tensor:
    """Each level's mean squared error, weighted by position where `weights` (B, 1, H, W) are."""
    squares = [(ours - goal).pow(2) for ours, goal in zip(student, teacher, strict=True)]
    if weights is None:
        return torch.stack([square.mean() for square in squares])
    pairs = zip(squares, weights, strict=True)
    return torch.stack([(s.mean(1, keepdim=True) * w).sum() / w.sum() for s, w in pairs])


def _variances(levels: Levels) -> Tensor:
    """Each level's variance around its channels' means."""
    return torch.stack([level.var((0, 2, 3)).mean() for level in levels])
