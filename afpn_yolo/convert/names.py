"""Names of modules in the authors' checkpoints, paired with ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from torch import nn

Pairs = Iterator[tuple[str, str]]
NECK_ROW = 10  # our first row behind the backbone
YOLO_LEVELS = ("top", "mid", "bot")
TWO_STAGE_LEVELS = ("scalezero", "scaleone", "scaletwo", "scalethree")
DETECTOR = {
    "rpn_head.rpn_conv": "rpn.head.conv.0.0",
    "rpn_head.rpn_cls": "rpn.head.cls_logits",
    "rpn_head.rpn_reg": "rpn.head.bbox_pred",
    "roi_head.bbox_head.shared_fcs.0": "roi_heads.box_head.fc6",
    "roi_head.bbox_head.shared_fcs.1": "roi_heads.box_head.fc7",
    "roi_head.bbox_head.fc_cls": "roi_heads.box_predictor.cls_score",
    "roi_head.bbox_head.fc_reg": "roi_heads.box_predictor.bbox_pred",
}
"""MMDetection's modules behind the neck -> torchvision's."""


def neck_names(
    levels: Sequence[str] = YOLO_LEVELS, base: int = 1, row: int = NECK_ROW, units: int = 3
) -> dict[str, str]:
    """Their modules of the neck -> ours by row, for any number of levels.

    Args:
        levels: Their words for the levels, finest first.
        base: Their number for the finest level.
        row: Our first row of the neck.
        units: Residual units behind each fusion.
    """
    return dict(_neck(levels, base, row, units))


def pyramid_names() -> dict[str, str]:
    """The same for the neck of a two-stage detector, where ours is a module with four levels."""
    n = len(TWO_STAGE_LEVELS)
    places = [f"{step}.{i}" for step in ("reduce", "lateral") for i in range(n)]
    for stage in range(n - 1):
        for part in ("fusions", "units"):
            places += [f"stages.{stage}.{part}.{i}" for i in range(stage + 2)]
    places += [f"expand.{i}" for i in range(n)]
    by_row = neck_names(TWO_STAGE_LEVELS, base=0, row=0, units=4)
    parts = {theirs: ours.split(".", 1) for theirs, ours in by_row.items()}
    return {theirs: f"{places[int(row)]}.{rest}" for theirs, (row, rest) in parts.items()}


def _neck(levels: Sequence[str], base: int, row: int, units: int) -> Pairs:
    n = len(levels)
    for i, level in enumerate(levels):
        yield from _conv(f"conv{base + i}", row + i)
        yield from _conv(f"body.0.blocks_{level}1.0", row + n + i)
    row += 2 * n
    for stage in range(1, n):
        joined = levels[: stage + 1]
        for i, level in enumerate(joined):
            yield from _fusion(joined, i, stage, row + i)
            for unit in range(units):
                theirs = f"body.0.blocks_{level}{stage + 1}.{unit}"
                ours = f"{row + len(joined) + i}.{unit}"
                for part in ("1", "2"):
                    yield f"{theirs}.conv{part}", f"{ours}.cv{part}.conv"
                    yield f"{theirs}.bn{part}", f"{ours}.cv{part}.bn"
        row += 2 * len(joined)
    for i in range(n):
        yield from _conv(f"conv{base + i}{base + i}", row + i)


def _fusion(levels: Sequence[str], target: int, stage: int, row: int) -> Pairs:
    theirs = f"body.0.asff_{levels[target]}{stage}"
    first = 0 if len(levels) == 4 else 1  # their fusion of four counts from 0, the others from 1
    for i, level in enumerate(levels):
        name = f"{level}{stage}_{2 ** abs(i - target)}"
        if i > target:
            yield from _conv(f"body.0.upsample_{name}.upsample.0", f"{row}.align.{i}.0")
        elif i < target:
            yield from _conv(f"body.0.downsample_{name}.downsample.0", f"{row}.align.{i}")
        yield from _conv(f"{theirs}.weight_level_{first + i}", f"{row}.weights.squeeze.{i}")
    yield f"{theirs}.weight_levels", f"{row}.weights.score"
    yield from _conv(f"{theirs}.conv", f"{row}.conv")


def _conv(theirs: str, ours: object) -> Pairs:
    for part in ("conv", "bn"):
        yield f"{theirs}.{part}", f"{ours}.{part}"


def backbone_names(rows: nn.Module) -> dict[str, str]:
    """Their modules of YOLOv5's backbone -> ours, from the rows of a model of ours."""
    names: dict[str, str] = {}
    for name, module in rows.named_modules():
        if hasattr(module, "bn") and int(name.split(".")[0]) < NECK_ROW:
            names.update(_conv(_backbone_name(name), name))
    return names


def _backbone_name(ours: str) -> str:
    head, _, tail = ours.partition(".")
    row = int(head)
    if row == 0:
        return "stem"
    if row == NECK_ROW - 1:
        return "stage4.2." + tail.replace("cv", "conv")
    tail = re.sub(r"^m\.(\d+)\.cv", r"blocks.\1.conv", tail)
    csp = {"cv1": "main_conv", "cv2": "short_conv", "cv3": "final_conv"}
    return f"stage{(row + 1) // 2}.{1 - row % 2}.{csp.get(tail, tail)}".rstrip(".")
