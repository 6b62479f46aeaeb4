"""Teacher and student: the same backbone and head, two necks."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from afpn_yolo.base.yaml_rows import backbone_rows, image_channels
from afpn_yolo.graft.shapes import run_rows
from afpn_yolo.upstream.neck import NeckModule, class_scores

Levels = tuple[Tensor, ...]

BACKGROUND = 0.05  # weight of a position where the teacher sees nothing
SIDE = 256  # pixels, of which the coarsest level of any model, P7, has two positions a side


class TeacherStudent:
    """Teacher and student on one backbone.

    Args:
        teacher: Trained model.
        student: Model whose neck is to learn. It gets the teacher's backbone.

    Attributes:
        neck: The student's, whose rows it shares.
        channels: Of the images that both take.

    Raises:
        ValueError: When the backbones, or the levels' channels or sizes, differ.
    """

    def __init__(self, teacher: Any, student: Any) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.student = student.eval()
        self.channels = image_channels(teacher)
        self._first = backbone_rows(teacher)
        source, target = (model.model[: self._first] for model in (teacher, student))
        shapes = [[(k, x.shape) for k, x in rows.state_dict().items()] for rows in (source, target)]
        if backbone_rows(student) != self._first or shapes[0] != shapes[1]:
            raise ValueError(
                "teacher and student have different backbones; take two of one family and scale"
            )
        target.load_state_dict(source.state_dict())
        self.neck, self._teacher_neck = NeckModule(student), NeckModule(teacher)
        with torch.no_grad():
            both = self.levels(torch.zeros(1, self.channels, SIDE, SIDE))
        ours, goal = ([tuple(level.shape[1:]) for level in levels] for levels in both)
        if ours != goal:
            raise ValueError(
                f"the student's levels at {SIDE} pixels are {ours}, the teacher's {goal}; they "
                "must be alike"
            )

    def copy_head(self) -> bool:
        """Copy the teacher's head to the student; returns whether it is of the same kind.

        It is copied as a whole, since its hidden widths may differ from a fresh head's: they depend
        on the number of classes, and a fine-tuned model keeps those of its first training.
        """
        source, target = self.teacher.model[-1], self.student.model[-1]
        parts = [{name for name, _ in head.named_children()} for head in (source, target)]
        if type(source) is not type(target) or parts[0] != parts[1]:
            return False
        head = copy.deepcopy(source)
        head.i, head.f = target.i, target.f  # row and sources, which the parser attaches
        self.student.model[-1] = head
        return True

    def levels(self, images: Tensor) -> tuple[Levels, Levels]:
        """The student's levels and the teacher's for images (B, C, H, W): (B, C_i, H_i, W_i)."""
        with torch.no_grad():
            features = run_rows(self.teacher.model, {-1: images}, range(self._first))
            teacher = self._teacher_neck(*(features[i] for i in self._teacher_neck.inputs))
        return self.neck(*(features[i] for i in self.neck.inputs)), teacher

    @torch.no_grad()
    def weights(self, teacher: Levels) -> Levels | None:
        """How much each position counts (B, 1, H_i, W_i): the teacher's highest class score there.

        A little is added everywhere. None where the head has no class scores.
        """
        scores = class_scores(self.teacher.model[-1], teacher)
        return scores and tuple(score.amax(1, keepdim=True) + BACKGROUND for score in scores)
