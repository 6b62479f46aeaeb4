"""Turn checkpoints of the AFPN authors' code, written on MMYOLO and MMDetection, into ours.

Modules are renamed. Tensors keep their values but for three things, none of which changes what a
network computes in evaluation:

- their 3x3 convolutions in the residual units have a bias: it goes into `running_mean - bias`;
- the neck's BatchNorm eps is 1e-5 there and 1e-3 in every model that Ultralytics builds, so the
  scale is multiplied by sqrt((var + 1e-3) / (var + 1e-5)). Writing 1e-5 into the model would not
  last: Ultralytics builds it anew, with 1e-3, when it trains;
- MMDetection's box head has the background as the last class, torchvision's as the first.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from afpn_yolo.twostage import checkpoint
from afpn_yolo.twostage.config import TrainConfig
from afpn_yolo.upstream.models import build_model, load_exactly, save_checkpoint

Tensors = dict[str, Tensor]
NECK_ROW = 10  # our first row behind the backbone
YOLO_LEVELS = ("top", "mid", "bot")
TWO_STAGE_LEVELS = ("scalezero", "scaleone", "scaletwo", "scalethree")
NECK_EPS = 1e-5  # in their neck; their backbone has 1e-3, as Ultralytics
STEM_WIDTHS = {16: "n", 32: "s", 48: "m", 64: "l", 80: "x"}
RESNETS = {
    (2, False): "resnet18",
    (6, False): "resnet34",
    (6, True): "resnet50",
    (23, True): "resnet101",
    (36, True): "resnet152",
}
"""Blocks of layer3, and whether they are bottlenecks -> ResNet."""
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


@dataclass(frozen=True)
class Conversion:
    """What became of a checkpoint: which of its tensors are in the new model, and which not."""

    what: str
    carried: tuple[str, ...]
    dropped: tuple[str, ...]


def convert(source: Path, target: Path, nc: int = 80) -> Conversion:
    """Write a checkpoint of ours from one of the authors'.

    A YOLOv5 becomes a checkpoint for Ultralytics with their backbone and neck. The detection head
    is Ultralytics' own and starts untrained, since theirs is of another kind. A Faster R-CNN is
    carried over whole, into a checkpoint that `twostage.checkpoint.open_detector` opens.

    Args:
        source: Their `.pth`.
        target: The `.pt` to write.
        nc: Number of classes of a YOLOv5's new head.

    Raises:
        ValueError: When `source` is no such checkpoint.
        OSError: When a file can't be read or written.
    """
    try:
        content: Any = _load_content(source)
        inner = content.get("state_dict", content) if isinstance(content, dict) else {}
        items = inner.items() if isinstance(inner, dict) else ()
        tensors = {str(key): value for key, value in items if isinstance(value, Tensor)}
        if not tensors:
            raise ValueError("it holds no state_dict of tensors")
        if not any(key.startswith("neck.body.0.asff_") for key in tensors):
            raise ValueError("it has no keys neck.body.0.asff_*: its neck is not AFPN")
        if any(key.startswith("roi_head.") for key in tensors):
            what, carried = _detector(tensors, content, target)
        else:
            what, carried = _yolo(tensors, target, nc)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return Conversion(what, tuple(carried), tuple(key for key in tensors if key not in carried))


def _yolo(tensors: Tensors, target: Path, nc: int) -> tuple[str, list[str]]:
    stem = tensors.get("backbone.stem.conv.weight")
    scale = STEM_WIDTHS.get(len(stem)) if stem is not None and stem.ndim == 4 else None
    if scale is None:
        raise ValueError(
            "it has no convolution backbone.stem.conv.weight with as many channels as one of "
            f"YOLOv5's, {', '.join(map(str, STEM_WIDTHS))}"
        )
    model: Any = build_model("yolov5-afpn.yaml", scale, nc)
    rows = model.model[:-1]  # all but the head
    names = _prefixed("backbone.", backbone_names(rows)) | _prefixed("neck.", neck_names())
    carried = load_authors(rows, tensors, names)
    save_checkpoint(model, target)
    return f"YOLOv5-{scale} with AFPN, {nc} classes, head untrained", carried


def _detector(tensors: Tensors, about: Any, target: Path) -> tuple[str, list[str]]:
    blocks = {key.split(".")[2] for key in tensors if key.startswith("backbone.layer3.")}
    backbone = RESNETS.get((len(blocks), "backbone.layer1.0.conv3.weight" in tensors))
    if backbone is None:
        known = ", ".join(RESNETS.values())
        raise ValueError(f"its backbone has {len(blocks)} blocks in layer3: it is none of {known}")
    if (scores := tensors.get("roi_head.bbox_head.fc_cls.bias")) is None:
        raise ValueError("it has no roi_head.bbox_head.fc_cls.bias")
    names = _class_names(about, len(scores) - 1)
    config = TrainConfig(backbone=backbone, aligned=True)
    body = {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
    model: Any = config.build(len(names) + 1, body)
    modules = model.backbone.body.named_modules()
    resnet = {name: name for name, module in modules if hasattr(module, "weight")}
    pairs = _prefixed("backbone.", resnet, "backbone.body.")
    pairs |= _prefixed("neck.", pyramid_names(), "backbone.fpn.") | DETECTOR
    for key, value in tensors.items():  # the background comes first, and has a box, too
        if key.startswith("roi_head.bbox_head.fc_cls."):
            tensors[key] = value.roll(1, 0)
        elif key.startswith("roi_head.bbox_head.fc_reg."):
            tensors[key] = torch.cat((torch.zeros_like(value[:4]), value))
    carried = load_authors(model, tensors, pairs)
    content = {"conditions": config.as_dict(), "model": model.state_dict()}
    checkpoint.save(target, {**content, "names": dict(enumerate(names))})
    return f"Faster R-CNN, {backbone} with AFPN, trained throughout", carried


def _prefixed(theirs: str, names: Mapping[str, str], ours: str = "") -> dict[str, str]:
    return {theirs + one: ours + other for one, other in names.items()}


def load_authors(
    module: nn.Module, tensors: Tensors, names: Mapping[str, str], neck_eps: float = NECK_EPS
) -> list[str]:
    """Load tensors of the authors' into a module of ours; in evaluation it then computes the same.

    Args:
        module: Every tensor of it must be among theirs.
        tensors: Theirs by name.
        names: Their modules -> ours.
        neck_eps: The eps of BatchNorm in their neck.

    Returns:
        Those of their keys that are in the module now.

    Raises:
        ValueError: When a tensor is missing, has another shape, or is one more than a neck has.
    """
    if missing := [name for name in names if f"{name}.weight" not in tensors]:
        raise ValueError(f"it lacks {missing[0]}.weight")
    keys: dict[str, str] = {}
    for key in tensors:
        name, _, leaf = key.rpartition(".")
        if name in names:
            keys[key] = f"{names[name]}.{leaf}"
        elif key.startswith("neck."):
            raise ValueError(f"its neck has {key}, which AFPN has not")
    renamed = {ours: tensors[key] for key, ours in keys.items()}
    unused = load_exactly(module, renamed, "their tensors by our names")
    for theirs, name in names.items():
        norm = module.get_submodule(name)
        if isinstance(norm, nn.BatchNorm2d) and not theirs.startswith("backbone."):
            _fold(norm, tensors.get(f"{theirs.replace('.bn', '.conv')}.bias"), theirs, neck_eps)
    return [k for k, ours in keys.items() if ours not in unused or ours.endswith(".conv.bias")]


@torch.no_grad()
def _fold(norm: Any, bias: Tensor | None, name: str, eps: float) -> None:
    """Make BatchNorm do what it does behind a convolution with a bias, at another eps."""
    if bias is not None:
        if bias.shape != norm.running_mean.shape:
            raise ValueError(f"the bias before {name} has the shape {tuple(bias.shape)}")
        norm.running_mean -= bias
    var = norm.running_var.double()
    ratio = ((var + norm.eps) / (var + eps)).sqrt()
    norm.weight.copy_(norm.weight.double() * ratio)


def _class_names(content: Any, count: int) -> list[str]:
    """The classes, as the checkpoint says, or COCO's, or numbers."""
    known = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    names = [name for name in known if name not in ("__background__", "N/A")]
    with suppress(KeyError, TypeError):  # it says none, or in an object that was not loaded
        names = [str(name) for name in content["meta"]["dataset_meta"]["classes"]]
    return names if len(names) == count else [f"class{i}" for i in range(count)]


class Inert:
    """Stands for an object that we don't need: takes anything, does nothing."""

    def __new__(cls, *_: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    __setstate__ = __init__


def _load_content(path: Path) -> object:
    """Load a foreign checkpoint without running anything that it brings along.

    MMEngine saves objects of its own classes and of numpy's beside the weights, and torch's
    `weights_only` refuses such a file whole. Here each of them becomes an `Inert`.
    """
    path.open("rb").close()  # torch reports a folder or a missing file less clearly
    try:
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(Inert, name) for name in unsafe]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        reason = str(error).split(". ")[0].splitlines() or [type(error).__name__]
        raise ValueError(f"torch can't read it as a checkpoint ({reason[0]})") from error
    if any(name.startswith("ultralytics.nn.") for name in unsafe):
        raise ValueError(
            "it is a checkpoint of Ultralytics' already, which yolo and the other commands open as "
            "it is; this one takes those of the AFPN authors' code"
        )
    return content


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
    n = len(levels)
    names: dict[str, str] = {}
    for i, level in enumerate(levels):
        names |= _conv(f"conv{base + i}", row + i)
        names |= _conv(f"body.0.blocks_{level}1.0", row + n + i)
    row += 2 * n
    for stage in range(1, n):
        joined = levels[: stage + 1]
        for i, level in enumerate(joined):
            names |= _fusion(joined, i, stage, row + i)
            for unit, part in product(range(units), (1, 2)):
                theirs = f"body.0.blocks_{level}{stage + 1}.{unit}"
                ours = f"{row + len(joined) + i}.{unit}.cv{part}"
                names |= {f"{theirs}.{one}{part}": f"{ours}.{one}" for one in ("conv", "bn")}
        row += 2 * len(joined)
    for i in range(n):
        names |= _conv(f"conv{base + i}{base + i}", row + i)
    return names


def _fusion(levels: Sequence[str], target: int, stage: int, row: int) -> dict[str, str]:
    theirs = f"body.0.asff_{levels[target]}{stage}"
    first = 0 if len(levels) == 4 else 1  # their fusion of four counts from 0, the others from 1
    names = _conv(f"{theirs}.conv", f"{row}.conv")
    names[f"{theirs}.weight_levels"] = f"{row}.weights.score"
    for i, level in enumerate(levels):
        name = f"{level}{stage}_{2 ** abs(i - target)}"
        if i > target:
            names |= _conv(f"body.0.upsample_{name}.upsample.0", f"{row}.align.{i}.0")
        elif i < target:
            names |= _conv(f"body.0.downsample_{name}.downsample.0", f"{row}.align.{i}")
        names |= _conv(f"{theirs}.weight_level_{first + i}", f"{row}.weights.squeeze.{i}")
    return names


def _conv(theirs: str, ours: object) -> dict[str, str]:
    return {f"{theirs}.{part}": f"{ours}.{part}" for part in ("conv", "bn")}


def pyramid_names() -> dict[str, str]:
    """Their modules of a two-stage detector's neck -> ours, which is a module with four levels."""
    n = len(TWO_STAGE_LEVELS)
    places = [f"{step}.{i}" for step in ("reduce", "lateral") for i in range(n)]
    for stage in range(n - 1):
        for part in ("fusions", "units"):
            places += [f"stages.{stage}.{part}.{i}" for i in range(stage + 2)]
    places += [f"expand.{i}" for i in range(n)]
    by_row = neck_names(TWO_STAGE_LEVELS, base=0, row=0, units=4)
    parts = {theirs: ours.split(".", 1) for theirs, ours in by_row.items()}
    return {theirs: f"{places[int(row)]}.{rest}" for theirs, (row, rest) in parts.items()}


def backbone_names(rows: nn.Module) -> dict[str, str]:
    """Their modules of YOLOv5's backbone -> ours, from the rows of a model of ours."""
    names: dict[str, str] = {}
    csp = {"cv1": "main_conv", "cv2": "short_conv", "cv3": "final_conv"}
    for ours, module in rows.named_modules():
        head, _, tail = ours.partition(".")
        if not hasattr(module, "bn") or int(head) >= NECK_ROW:
            continue
        row = int(head)
        if row == 0:
            theirs = "stem"
        elif row == NECK_ROW - 1:
            theirs = "stage4.2." + tail.replace("cv", "conv")
        else:
            tail = re.sub(r"^m\.(\d+)\.cv", r"blocks.\1.conv", tail)
            theirs = f"stage{(row + 1) // 2}.{1 - row % 2}.{csp.get(tail, tail)}".rstrip(".")
        names |= _conv(theirs, ours)
    return names
