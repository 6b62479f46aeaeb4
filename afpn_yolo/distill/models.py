"""Teacher and student: the same backbone and head, two necks.

A fresh neck knows nothing, whatever the backbone under it has learnt. A trained model of the same
widths, the teacher, has a neck whose outputs its head can read. The student takes the teacher's
backbone and head; its neck is fitted to the teacher's levels. That needs images, and no labels.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from afpn_yolo.base.yaml_rows import backbone_rows, image_channels
from afpn_yolo.upstream.neck import head_sources, run_rows

SIDE = 256  # pixels, of which the coarsest level of any model, P7, has two positions a side


class Lesson:
    """Teacher and student on one backbone.

    Args:
        teacher: Trained model.
        student: Model whose neck is to learn. Its backbone becomes the teacher's, and so does its
            head, where both are alike.

    Raises:
        ValueError: When the backbones, or the levels' channels or sizes, differ.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.student = student.eval()
        self.base = backbone_rows(teacher)
        self._copy_backbone()
        self._check_levels()

    @property
    def neck(self) -> nn.Sequential:
        """The student's rows between backbone and head."""
        return _rows(self.student)[self.base : -1]

    @property
    def channels(self) -> int:
        """Of the images that both take."""
        return image_channels(self.teacher)

    def take_head(self) -> bool:
        """Put the teacher's head on the student's neck, and say whether it is of the same kind.

        It is copied as a whole, since its hidden widths may be others than a fresh head's: they go
        by the number of classes, and a model that was fine-tuned keeps those of its first one.
        """
        theirs: Any = _rows(self.teacher)[-1]
        ours: Any = _rows(self.student)[-1]
        alike = type(theirs) is type(ours) and _parts(theirs) == _parts(ours)
        if alike:
            head = copy.deepcopy(theirs)
            head.i, head.f = ours.i, ours.f  # its row and its sources, as the parser attaches them
            _rows(self.student)[-1] = head
        return alike

    def levels(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The student's levels and the teacher's for images (B, C, H, W): (B, C_i, H_i, W_i)."""
        with torch.no_grad():
            shared = run_rows(_rows(self.teacher), {-1: images}, range(self.base))
            goal = self._neck(self.teacher, shared)
        return self._neck(self.student, shared), goal

    def _neck(self, model: nn.Module, shared: dict[int, Tensor]) -> list[Tensor]:
        rows = _rows(model)
        outputs = run_rows(rows, shared, range(self.base, len(rows) - 1))
        return [outputs[i] for i in head_sources(model)]

    def _copy_backbone(self) -> None:
        theirs, ours = (_rows(m)[: self.base] for m in (self.teacher, self.student))
        alike = _shapes(theirs.state_dict()) == _shapes(ours.state_dict())
        if backbone_rows(self.student) != self.base or not alike:
            raise ValueError(
                "teacher and student have different backbones; take two of one family and scale"
            )
        ours.load_state_dict(theirs.state_dict())

    def _check_levels(self) -> None:
        with torch.no_grad():
            got, goal = self.levels(torch.zeros(1, self.channels, SIDE, SIDE))
        ours, theirs = ([tuple(x.shape[1:]) for x in levels] for levels in (got, goal))
        if ours != theirs:
            raise ValueError(
                f"the student's levels at {SIDE} pixels are {ours}, the teacher's {theirs}; "
                "they must be alike"
            )


def _rows(model: nn.Module) -> nn.Sequential:
    return model.model  # type: ignore[return-value]


def _parts(head: nn.Module) -> set[str]:
    return {name for name, _ in head.named_children()}


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
