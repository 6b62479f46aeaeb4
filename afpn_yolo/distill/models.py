"""Teacher and student: the same backbone and head, two necks."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from afpn_yolo.base.yaml_rows import backbone_rows, image_channels
from afpn_yolo.upstream.neck import run_rows, sources_of

SIDE = 256  # pixels, of which the coarsest level of any model, P7, has two positions a side


class TeacherStudent:
    """Teacher and student on one backbone.

    Args:
        teacher: Trained model.
        student: Model whose neck is to learn. It gets the teacher's backbone.

    Attributes:
        neck: The student's rows between backbone and head.
        channels: Of the images that both take.

    Raises:
        ValueError: When the backbones, or the levels' channels or sizes, differ.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.student = student.eval()
        self.first = backbone_rows(teacher)
        self.channels = image_channels(teacher)
        source, target = (_rows(model)[: self.first].state_dict() for model in (teacher, student))
        if backbone_rows(student) != self.first or _shapes(source) != _shapes(target):
            raise ValueError(
                "teacher and student have different backbones; take two of one family and scale"
            )
        _rows(student)[: self.first].load_state_dict(source)
        self.neck = _rows(student)[self.first : -1]
        self._check_levels()

    def _check_levels(self) -> None:
        with torch.no_grad():
            levels = self.levels(torch.zeros(1, self.channels, SIDE, SIDE))
        student, teacher = ([tuple(x.shape[1:]) for x in maps] for maps in levels)
        if student != teacher:
            raise ValueError(
                f"the student's levels at {SIDE} pixels are {student}, the teacher's {teacher}; "
                "they must be alike"
            )

    def copy_head(self) -> bool:
        """Copy the teacher's head to the student; returns whether it is of the same kind.

        It is copied as a whole, since its hidden widths may differ from a fresh head's: they depend
        on the number of classes, and a fine-tuned model keeps those of its first training.
        """
        source: Any = _rows(self.teacher)[-1]
        target: Any = _rows(self.student)[-1]
        alike = type(source) is type(target) and _parts(source) == _parts(target)
        if alike:
            head = copy.deepcopy(source)
            head.i, head.f = target.i, target.f  # row and sources, which the parser attaches
            _rows(self.student)[-1] = head
        return alike

    def levels(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The student's levels and the teacher's for images (B, C, H, W): (B, C_i, H_i, W_i)."""
        with torch.no_grad():
            features = run_rows(_rows(self.teacher), {-1: images}, range(self.first))
            teacher = self._neck(self.teacher, features)
        return self._neck(self.student, features), teacher

    def _neck(self, model: nn.Module, features: dict[int, Tensor]) -> list[Tensor]:
        rows = _rows(model)
        outputs = run_rows(rows, features, range(self.first, len(rows) - 1))
        return [outputs[i] for i in sources_of(rows[-1])]


def _rows(model: nn.Module) -> nn.Sequential:
    return model.model  # type: ignore[return-value]


def _parts(head: nn.Module) -> set[str]:
    return {name for name, _ in head.named_children()}


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
