"""From a teacher and images to a checkpoint that `yolo train` fine-tunes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from afpn_yolo.distill import Schedule
from afpn_yolo.distill.models import TeacherStudent
from afpn_yolo.distill.trainer import DistillationTrainer
from afpn_yolo.graft import graft, grafted_name
from afpn_yolo.upstream.models import load_model, save_checkpoint, untrained
from afpn_yolo.upstream.weights import rescale

NECK = "hybrid"
HELD_BACK = 10  # one image in ten is kept for the evaluation


@dataclass(frozen=True)
class Distilled:
    """The result of a distillation.

    Attributes:
        out: The checkpoint that was written.
        before, after: Share of the teacher's variance that each level of the neck explains, finest
            first, on images that were not learnt from; below zero: worse than the teacher's mean.
        head: Whether the teacher's head was copied.
        images: Number of images that the neck learnt from.
    """

    out: Path
    before: list[float]
    after: list[float]
    head: bool
    images: int


def distill(
    teacher: Path,
    images: Sequence[Path],
    out: Path | None = None,
    model: str | None = None,
    schedule: Schedule | None = None,
    device: str = "cpu",
    progress: Callable[[int, list[float]], None] = lambda step, errors: None,
    neck: str | None = None,
) -> Distilled:
    """Train a neck on a teacher's and write the model.

    Args:
        teacher: Trained model of Ultralytics, of any family and task that can be grafted.
        images: Image files, without labels.
        out: Checkpoint to write, over one that is there; None: `yolo11n-afpn-hybrid-seg.pt` for
            `yolo11n-seg.pt`, and `my.pt` for the student `my.yaml`. `out` + `.state` holds the
            progress so far: the same call resumes it.
        model: Model YAML of the student; None: the teacher's own with another neck.
        schedule: How long, how large, how fast.
        device: Where to compute, as `yolo` takes it: cpu, 0, cuda:0, ...
        progress: Called with the step and each level's normalised MSE.
        neck: The kind of neck that the teacher's YAML gets, a name of `graft.NECKS`; None: hybrid.

    Raises:
        FileExistsError: When there is a file of the default name.
        ValueError: When an argument can't be right, no neck can be put into the teacher, teacher
            and student don't fit, or nothing can be learnt from the images.
    """
    if not images:
        raise ValueError("no images to learn from")
    if model and neck:
        raise ValueError(f"the model {model} has its neck; leave the neck {neck} out, or the model")
    if out is None:
        name = Path(model or grafted_name(teacher.stem, neck or NECK)).name
        out = Path(name).with_suffix(".pt")
        if out.exists():  # it may be another model's: the user has not named it
            raise FileExistsError(f"{out} exists; name the file to write: -o {out}")
    if out.resolve() == teacher.resolve():
        raise ValueError(f"{out} is the teacher; name another file to write")
    schedule = schedule or Schedule()
    torch.manual_seed(schedule.seed)  # the fresh neck
    source: Any = load_model(teacher)
    if any("quantizer" in name for name in source.state_dict()):
        raise ValueError(
            f"{teacher} is from quantisation-aware training (quantize=8); teach from the model "
            "that it was trained from"
        )
    try:
        yaml = model or graft(source.yaml, neck or NECK).content
    except ValueError as error:
        raise ValueError(f"{teacher}: {error}") from None
    student: Any = untrained(yaml, source)
    before = {name: tensor.clone() for name, tensor in student.named_parameters()}
    student.load(source.float(), verbose=False)
    given = [p for name, p in student.named_parameters() if not torch.equal(p, before[name])]
    models = TeacherStudent(source, student)
    if models.channels not in (1, 3):
        raise ValueError(f"{teacher} takes images of {models.channels} channels; 3 or 1 are read")
    stride = int(max(student.stride))
    if schedule.imgsz % stride:
        raise ValueError(f"imgsz must be a multiple of {stride}, got {schedule.imgsz}")
    if schedule.batch == 1 and schedule.imgsz == stride:
        raise ValueError(
            f"one crop of {schedule.imgsz} pixels leaves the coarsest level a single position, and "
            f"BatchNorm needs two: take a batch of 2, or an imgsz of {2 * stride}"
        )
    head = models.copy_head()
    held_back, seen = images[::HELD_BACK], [p for i, p in enumerate(images) if i % HELD_BACK]
    if len(images) < HELD_BACK:
        held_back = seen = [*images]
    state = out.with_name(f"{out.name}.state")
    trainer = DistillationTrainer(models, seen, held_back, schedule, state, device, given)
    trainer.run(progress)
    rescale(models.neck, given)
    result = Distilled(out, trainer.before, trainer.evaluate(), head, len(seen))
    save_checkpoint(student.cpu(), out)
    state.unlink(missing_ok=True)
    return result
