"""Names in the checkpoints of the authors' MMYOLO code, paired with ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

NECK_ROW = 10  # our first row behind the backbone


@dataclass(frozen=True)
class ConvNames:
    """One convolution with BatchNorm: their two modules, and our `Conv`."""

    conv: str
    bn: str
    ours: str


def neck_convs(
    levels: Sequence[str] = ("top", "mid", "bot"),
    base: int = 1,
    row: int = NECK_ROW,
    units: int = 3,
) -> Iterator[ConvNames]:
    """Pair the neck's convolutions, in the order of our rows, for any number of levels.

    Args:
        levels: Their words for the levels, finest first.
        base: Their number for the finest level.
        row: Our first row of the neck.
        units: Residual units behind each fusion.
    """
    n = len(levels)
    for i in range(n):
        yield _conv(f"conv{base + i}", row + i)
    for i, level in enumerate(levels):
        yield _conv(f"body.0.blocks_{level}1.0", row + n + i)
    row += 2 * n
    for stage in range(1, n):
        joined = levels[: stage + 1]
        for i in range(len(joined)):
            yield from _fusion(joined, i, stage, row + i)
        for i, level in enumerate(joined):
            for unit in range(units):
                theirs = f"body.0.blocks_{level}{stage + 1}.{unit}"
                ours = f"{row + len(joined) + i}.{unit}"
                yield ConvNames(f"{theirs}.conv1", f"{theirs}.bn1", f"{ours}.cv1")
                yield ConvNames(f"{theirs}.conv2", f"{theirs}.bn2", f"{ours}.cv2")
        row += 2 * len(joined)
    for i in range(n):
        yield _conv(f"conv{base + i}{base + i}", row + i)


def _conv(theirs: str, ours: object) -> ConvNames:
    return ConvNames(f"{theirs}.conv", f"{theirs}.bn", str(ours))


def _fusion(levels: Sequence[str], target: int, stage: int, row: int) -> Iterator[ConvNames]:
    for i, level in enumerate(levels):
        factor = 2 ** abs(i - target)
        if i > target:
            yield _conv(f"body.0.upsample_{level}{stage}_{factor}.upsample.0", f"{row}.align.{i}.0")
        elif i < target:
            yield _conv(
                f"body.0.downsample_{level}{stage}_{factor}.downsample.0", f"{row}.align.{i}"
            )
    theirs = f"body.0.asff_{levels[target]}{stage}"
    first = 0 if len(levels) == 4 else 1  # their fusion of four counts from 0, the others from 1
    for i in range(len(levels)):
        yield _conv(f"{theirs}.weight_level_{first + i}", f"{row}.weights.squeeze.{i}")
    yield _conv(f"{theirs}.conv", f"{row}.conv")


def neck_scores(
    levels: Sequence[str] = ("top", "mid", "bot"), row: int = NECK_ROW
) -> Iterator[tuple[str, str]]:
    """Pair the convolutions that score the levels; they have a bias and no BatchNorm."""
    row += 2 * len(levels)
    for stage in range(1, len(levels)):
        for i, level in enumerate(levels[: stage + 1]):
            yield f"body.0.asff_{level}{stage}.weight_levels", f"{row + i}.weights.score"
        row += 2 * (stage + 1)


def backbone_convs(model: nn.Module) -> Iterator[ConvNames]:
    """Pair the backbone's convolutions of a model of ours, rows 0-9, with theirs."""
    for name, module in model.named_modules():
        if hasattr(module, "bn") and name.split(".")[1].isdigit() and row_of(name) < NECK_ROW:
            ours = name.removeprefix("model.")
            yield _conv(_backbone_name(ours), ours)


def row_of(name: str) -> int:
    return int(name.split(".")[1])


def _backbone_name(ours: str) -> str:
    head, _, tail = ours.partition(".")
    row = int(head)
    if row == 0:
        return "stem"
    if row == NECK_ROW - 1:
        return "stage4.2." + tail.replace("cv", "conv")
    stage = f"stage{(row + 1) // 2}.{1 - row % 2}"
    tail = re.sub(r"^m\.(\d+)\.cv", r"blocks.\1.conv", tail)
    for theirs, name in (("main", "cv1"), ("short", "cv2"), ("final", "cv3")):
        tail = re.sub(f"^{name}$", f"{theirs}_conv", tail)
    return f"{stage}.{tail}" if tail else stage
