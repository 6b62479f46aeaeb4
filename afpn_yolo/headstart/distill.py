"""The whole head start: files in, a checkpoint out that `yolo train` fine-tunes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from afpn_yolo.headstart.lesson import Lesson
from afpn_yolo.headstart.teaching import Schedule, Teaching
from afpn_yolo.upstream.models import load_model, open_tensors, save_checkpoint, untrained
from afpn_yolo.upstream.rows import scale_of

HELD_BACK = 10  # one image in ten is kept to measure with


@dataclass(frozen=True)
class HeadStart:
    """What the head start gave.

    Attributes:
        before: Share of the teacher's variance that each level explained untaught, finest first;
            below zero: worse than the teacher's mean.
        after: The same at the end, on images that were not learnt from.
        head: Whether the teacher's head was carried over.
        seen: Number of images that it learnt from.
    """

    before: list[float]
    after: list[float]
    head: bool
    seen: int


def distill(
    teacher: Path,
    images: Sequence[Path],
    out: Path,
    model: str | None = None,
    teacher_model: str | None = None,
    schedule: Schedule | None = None,
    device: str = "cpu",
    progress: Callable[[int, list[float]], None] = lambda step, missed: None,
) -> HeadStart:
    """Teach a neck and write the model.

    Args:
        teacher: Trained detector of Ultralytics', or an `.npz` of tensors by their names in one.
        images: Image files, without labels.
        out: Checkpoint to write. `out` + `.state` keeps what has been done until then: the same
            call takes it up.
        model: Model YAML of the student; None: `yolov5-afpn.yaml` at the teacher's scale.
        teacher_model: Model YAML that an `.npz`'s tensors fit: `yolov5n.yaml`.
        schedule: How long, how large, how fast.
        device: Where to compute, as `yolo` takes it: cpu, 0, cuda:0, ...
        progress: Hears the step and what share of the variance each level missed in it.

    Raises:
        ValueError: When teacher and student don't fit, there are no images, no such device, the
            crops are too small, or nothing can be learnt from the images.
    """
    if not images:
        raise ValueError("no images to learn from")
    schedule = schedule or Schedule()
    torch.manual_seed(schedule.seed)  # the untaught student
    bare = teacher.suffix == ".npz"
    source = open_tensors(teacher, teacher_model) if bare else load_model(teacher)
    lesson = Lesson(source.float(), untrained(model or default_student(source), source))
    _check_schedule(schedule, lesson.student)
    head = not bare and lesson.take_head()
    kept, learnt = _hold_back(images)
    state = out.with_name(f"{out.name}.state")
    teaching = Teaching(lesson, learnt, kept, schedule, state, device)
    teaching.run(progress)
    result = HeadStart(teaching.before, teaching.measure(), head, len(learnt))
    save_checkpoint(lesson.student.cpu(), out)
    state.unlink(missing_ok=True)
    return result


def _check_schedule(schedule: Schedule, student: nn.Module) -> None:
    strides: Any = student.stride
    stride = int(max(strides))
    if schedule.imgsz % stride:
        raise ValueError(f"imgsz must be a multiple of {stride}, got {schedule.imgsz}")
    if schedule.batch * (schedule.imgsz // stride) ** 2 < 2:
        raise ValueError(
            f"one crop of {schedule.imgsz} pixels leaves the coarsest level a single position, and "
            f"BatchNorm needs two: take a batch of 2, or an imgsz of {2 * stride}"
        )


def default_student(teacher: nn.Module) -> str:
    """`yolov5n-afpn.yaml` for a teacher of scale n.

    Raises:
        ValueError: When the teacher doesn't say its scale.
    """
    scale = scale_of(teacher)
    if not scale:
        raise ValueError("the teacher doesn't say its scale; name the student's YAML")
    return f"yolov5{scale}-afpn.yaml"


def _hold_back(images: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Images to measure with and images to learn from; the same ones where there are few."""
    kept, learnt = [*images[::HELD_BACK]], [p for i, p in enumerate(images) if i % HELD_BACK]
    return (kept, learnt) if len(images) >= HELD_BACK else ([*images], [*images])
