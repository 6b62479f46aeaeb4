"""Turn a checkpoint of the authors' MMDetection code into a detector of `afpn_yolo.twostage`.

Theirs is Faster R-CNN on a ResNet with AFPN, whole: backbone, neck, RPN and box head have their
places in torchvision's. Of the box head, the background is the last class there, and the first
here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from afpn_yolo.mmyolo.convert import (
    NECK_EPS,
    Conversion,
    NotAuthorsCheckpointError,
    convert_convs,
    prefixed,
    split_content,
)
from afpn_yolo.mmyolo.names import ConvNames, neck_convs, neck_scores
from afpn_yolo.mmyolo.safe_load import load_tensors
from afpn_yolo.twostage import checkpoint
from afpn_yolo.twostage.design import Design, Sides

LEVELS = ("scalezero", "scaleone", "scaletwo", "scalethree")
LAYOUT: dict[str, Any] = {"levels": LEVELS, "row": 0}
# Blocks of layer3, kind of block -> ResNet.
RESNETS = {
    (2, False): "resnet18",
    (6, False): "resnet34",
    (6, True): "resnet50",
    (23, True): "resnet101",
    (36, True): "resnet152",
}
RENAMED = {
    "rpn_head.rpn_conv": "rpn.head.conv.0.0",
    "rpn_head.rpn_cls": "rpn.head.cls_logits",
    "rpn_head.rpn_reg": "rpn.head.bbox_pred",
    "roi_head.bbox_head.shared_fcs.0": "roi_heads.box_head.fc6",
    "roi_head.bbox_head.shared_fcs.1": "roi_heads.box_head.fc7",
}
"""Their module -> torchvision's."""
CLASSES, BOXES = "roi_head.bbox_head.fc_cls", "roi_head.bbox_head.fc_reg"


def is_twostage(content: object) -> bool:
    """Whether a checkpoint's content is one of the authors' two-stage detectors."""
    tensors, _ = split_content(content)
    return any(key.startswith("roi_head.") for key in tensors)


def convert_detector(source: Path, target: Path) -> Conversion:
    """Write a checkpoint that `open_detector` opens.

    Args:
        source: Their `.pth`.
        target: The `.pt` to write.

    Returns:
        What was carried over and what wasn't; its `scale` is the backbone's name.

    Raises:
        NotAuthorsCheckpointError: When `source` is no such checkpoint.
        OSError: When a file can't be read or written.
    """
    content = load_tensors(source)
    tensors, others = split_content(content)
    everything = tuple(tensors)
    backbone = _backbone(tensors)
    try:
        ours = convert_neck({k: tensors[k] for k in everything if k.startswith("neck.")}, "neck.")
        for key in everything:
            if key.startswith("neck."):
                del tensors[key]
        for theirs, name in RENAMED.items():
            for part in ("weight", "bias"):
                ours[f"{name}.{part}"] = tensors.pop(f"{theirs}.{part}")
        ours |= _box_head(tensors)
    except KeyError as error:
        raise NotAuthorsCheckpointError(f"it lacks the key {error} of {backbone}") from None
    names = _names(content, len(ours["roi_heads.box_predictor.cls_score.bias"]) - 1)
    for key in everything:
        if key.startswith("backbone.") and not key.endswith("num_batches_tracked"):
            ours[f"backbone.body.{key.removeprefix('backbone.')}"] = tensors.pop(key)
    design = Design(backbone=backbone, aligned=True)
    body = {k.removeprefix(checkpoint.BODY): v for k, v in ours.items() if checkpoint.BODY in k}
    try:
        model = design.build(len(names) + 1, body, Sides())
    except ValueError as error:
        raise NotAuthorsCheckpointError(str(error)) from None
    _check(model.state_dict(), ours)
    model.load_state_dict(ours, strict=False)
    checkpoint.save(target, checkpoint.described(model, design, Sides(), names))
    carried = tuple(key for key in everything if key not in tensors)
    return Conversion(backbone, carried, (*tensors, *others))


def convert_neck(tensors: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Their neck's tensors by our names in a detector.

    Raises:
        KeyError: When one is missing.
        NotAuthorsCheckpointError: When there is one more than the neck has.
    """
    rest = dict(tensors)
    convs = prefixed(_named(neck_convs(**LAYOUT, base=0, units=4)), prefix)
    result = convert_convs(rest, convs, NECK_EPS, NECK_EPS)
    for theirs, ours in neck_scores(**LAYOUT):
        for part in ("weight", "bias"):
            result[f"{_place(ours)}.{part}"] = rest.pop(f"{prefix}{theirs}.{part}")
    if rest:
        raise NotAuthorsCheckpointError(f"its neck has {next(iter(rest))}, which AFPN has not")
    return {f"backbone.fpn.{key}": value for key, value in result.items()}


def _named(names: Iterator[ConvNames]) -> Iterator[ConvNames]:
    return (ConvNames(n.conv, n.bn, _place(n.ours)) for n in names)


def _places(levels: int) -> list[str]:
    """What a row of a model YAML, counted from the neck's first, is called in the pyramid."""
    found = [f"{step}.{i}" for step in ("reduce", "lateral") for i in range(levels)]
    for stage in range(levels - 1):
        joined = range(stage + 2)
        found += [f"stages.{stage}.{part}.{i}" for part in ("fusions", "units") for i in joined]
    return found + [f"expand.{i}" for i in range(levels)]


def _place(row: str) -> str:
    number, _, rest = row.partition(".")
    place = _places(len(LEVELS))[int(number)]
    return f"{place}.{rest}" if rest else place


def _backbone(tensors: dict[str, Tensor]) -> str:
    """Which ResNet it is.

    Raises:
        NotAuthorsCheckpointError: When it is none of `RESNETS`, or its neck is not AFPN.
    """
    if not any(key.startswith("neck.body.0.asff_") for key in tensors):
        raise NotAuthorsCheckpointError("it has no keys neck.body.0.asff_*: its neck is not AFPN")
    blocks = {key.split(".")[2] for key in tensors if key.startswith("backbone.layer3.")}
    bottleneck = "backbone.layer1.0.conv3.weight" in tensors
    found = RESNETS.get((len(blocks), bottleneck))
    if found is None:
        raise NotAuthorsCheckpointError(
            f"its backbone has {len(blocks)} blocks in layer3: it is none of "
            f"{', '.join(RESNETS.values())}"
        )
    return found


def _box_head(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The two last layers, with the background first; torchvision gives it a box, too."""
    name = "roi_heads.box_predictor"
    result = {}
    for part in ("weight", "bias"):
        scores, boxes = tensors.pop(f"{CLASSES}.{part}"), tensors.pop(f"{BOXES}.{part}")
        result[f"{name}.cls_score.{part}"] = torch.cat((scores[-1:], scores[:-1]))
        result[f"{name}.bbox_pred.{part}"] = torch.cat((torch.zeros_like(boxes[:4]), boxes))
    return result


def _names(content: Any, count: int) -> dict[int, str]:
    """The classes, as the checkpoint says, or COCO's, or numbers."""
    meta = content.get("meta") if isinstance(content, dict) else None
    about = meta.get("dataset_meta") if isinstance(meta, dict) else None
    said: Any = about.get("classes", about.get("CLASSES")) if isinstance(about, dict) else None
    if isinstance(said, Sequence) and len(said) == count:
        return {i: str(name) for i, name in enumerate(said)}
    known = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    coco = [name for name in known if name not in ("__background__", "N/A")]
    return dict(enumerate(coco if count == len(coco) else (f"class{i}" for i in range(count))))


def _check(needed: dict[str, Tensor], ours: dict[str, Tensor]) -> None:
    """Raise `NotAuthorsCheckpointError` unless every tensor is there in its shape."""
    for key, value in needed.items():
        found = ours.get(key)
        if found is None and key.endswith("num_batches_tracked"):
            continue
        if found is None or found.shape != value.shape:
            there = "is missing" if found is None else f"has shape {[*found.shape]}"
            raise NotAuthorsCheckpointError(
                f"{key}, as we name it, {there}, expected {[*value.shape]}"
            )
    if more := sorted({*ours} - {*needed}):
        raise NotAuthorsCheckpointError(f"{more[0]}, as we name it, is in no such detector")
