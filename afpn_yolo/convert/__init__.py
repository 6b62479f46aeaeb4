"""Turn checkpoints of the AFPN authors' code, written on MMYOLO and MMDetection, into ours.

Their names, module by module, are mapped to ours. The tensors keep their values but for three
things, none of which changes what a network computes in evaluation:

- their 3x3 convolutions in the residual units have a bias: it goes into `running_mean - bias`;
- the neck's BatchNorm eps is 1e-5 there and 1e-3 in every model that Ultralytics builds, so the
  scale is multiplied by sqrt((var + 1e-3) / (var + 1e-5)). Writing 1e-5 into the model would not
  last: Ultralytics builds it anew, with 1e-3, when it trains;
- MMDetection's box head has the background as the last class, torchvision's as the first.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from afpn_yolo.convert.names import DETECTOR, backbone_names, neck_names, pyramid_names
from afpn_yolo.twostage import checkpoint
from afpn_yolo.twostage.config import TrainConfig
from afpn_yolo.upstream.models import build_model, load_exactly, save_checkpoint

Tensors = dict[str, Tensor]
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
CLASSES = "roi_head.bbox_head.fc_cls.bias"


@dataclass(frozen=True)
class Conversion:
    """What became of a checkpoint.

    Attributes:
        what: The network that was written.
        carried: Their keys whose values are in the model.
        dropped: All their other keys.
    """

    what: str
    carried: tuple[str, ...]
    dropped: tuple[str, ...]


def convert(source: Path, target: Path, scale: str | None = None, nc: int = 80) -> Conversion:
    """Write a checkpoint of ours from one of the authors'.

    A YOLOv5 becomes a checkpoint for Ultralytics with their backbone and neck. The detection head
    is Ultralytics' own and starts untrained, since theirs is of another kind. A Faster R-CNN is
    carried over whole, into a checkpoint that `twostage.checkpoint.open_detector` opens.

    Args:
        source: Their `.pth`.
        target: The `.pt` to write.
        scale: Scale that the user expects of a YOLOv5; None accepts what the shapes say.
        nc: Number of classes of a YOLOv5's new head.

    Raises:
        ValueError: When `source` is no such checkpoint, or of another scale.
        OSError: When a file can't be read or written.
    """
    try:
        content = load_content(source)
        tensors, others = split_content(content)
        if not any(key.startswith("neck.body.0.asff_") for key in tensors):
            raise ValueError("it has no keys neck.body.0.asff_*: its neck is not AFPN")
        if any(key.startswith("roi_head.") for key in tensors):
            what, carried = _detector(tensors, content, target)
        else:
            what, carried = _yolo(tensors, target, scale, nc)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    dropped = [key for key in tensors if key not in carried]
    return Conversion(what, tuple(carried), (*dropped, *others))


def _yolo(tensors: Tensors, target: Path, expected: str | None, nc: int) -> tuple[str, list[str]]:
    stem = tensors.get("backbone.stem.conv.weight")
    if stem is None or stem.ndim != 4:
        raise ValueError("it has no convolution backbone.stem.conv.weight: no YOLOv5 of MMYOLO's")
    scale = STEM_WIDTHS.get(stem.shape[0])
    if scale is None:
        raise ValueError(
            f"its backbone starts with {stem.shape[0]} channels, YOLOv5's with {[*STEM_WIDTHS]}"
        )
    if expected not in (None, scale):
        raise ValueError(f"its shapes are those of scale {scale}, not {expected}")
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
    body = {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
    if CLASSES not in tensors:
        raise ValueError(f"it has no {CLASSES}")
    names = _class_names(about, len(tensors[CLASSES]) - 1)
    config = TrainConfig(backbone=backbone, aligned=True)
    model: Any = config.build(len(names) + 1, body)
    modules = model.backbone.body.named_modules()
    resnet = {name: name for name, module in modules if hasattr(module, "weight")}
    pairs = _prefixed("backbone.", resnet, "backbone.body.")
    pairs |= _prefixed("neck.", pyramid_names(), "backbone.fpn.") | DETECTOR
    carried = load_authors(model, _background_first(tensors), pairs)
    content = {"conditions": config.as_dict(), "names": names, "model": model.state_dict()}
    checkpoint.save(target, content)
    return f"Faster R-CNN, {backbone} with AFPN, trained throughout", carried


def _prefixed(theirs: str, names: Mapping[str, str], ours: str = "") -> dict[str, str]:
    return {theirs + one: ours + other for one, other in names.items()}


def _background_first(tensors: Tensors) -> Tensors:
    """Move the background to the front, and give it a box, which torchvision's has, too."""
    result = dict(tensors)
    for key, value in tensors.items():
        if key.startswith("roi_head.bbox_head.fc_cls."):
            result[key] = value.roll(1, 0)
        elif key.startswith("roi_head.bbox_head.fc_reg."):
            result[key] = torch.cat((torch.zeros_like(value[:4]), value))
    return result


def load_authors(
    module: nn.Module, tensors: Tensors, names: Mapping[str, str], neck_eps: float = NECK_EPS
) -> list[str]:
    """Load tensors of the authors' into a module of ours; in evaluation it then computes the same.

    Args:
        module: The module; every tensor of it must be among theirs.
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
    unused = load_exactly(
        module, {keys[key]: tensors[key] for key in keys}, "their tensors by our names"
    )
    ours = dict(module.named_modules())
    for theirs, name in names.items():
        norm = ours[name]
        if isinstance(norm, nn.BatchNorm2d) and not theirs.startswith("backbone."):
            _fold(norm, tensors.get(f"{theirs.replace('.bn', '.conv')}.bias"), theirs, neck_eps)
    folded = {name for name in unused if name.endswith(".conv.bias")}
    return [key for key, name in keys.items() if name not in unused or name in folded]


@torch.no_grad()
def _fold(norm: nn.BatchNorm2d, bias: Tensor | None, name: str, eps: float) -> None:
    """Make BatchNorm do what it does behind a convolution with a bias, at another eps."""
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    if bias is not None:
        if bias.shape != mean.shape:
            raise ValueError(f"the bias before {name} has the shape {tuple(bias.shape)}")
        mean -= bias
    ratio = ((var.double() + norm.eps) / (var.double() + eps)).sqrt()
    norm.weight.copy_(norm.weight.double() * ratio)


def _class_names(content: Any, count: int) -> dict[int, str]:
    """The classes, as the checkpoint says, or COCO's, or numbers."""
    meta = content.get("meta") if isinstance(content, dict) else None
    about = meta.get("dataset_meta") if isinstance(meta, dict) else None
    classes: Any = about.get("classes", about.get("CLASSES")) if isinstance(about, dict) else None
    known = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    coco = [name for name in known if name not in ("__background__", "N/A")]
    for names in (classes, coco):
        if isinstance(names, Sequence) and len(names) == count:
            return {i: str(name) for i, name in enumerate(names)}
    return {i: f"class{i}" for i in range(count)}


def split_content(content: object) -> tuple[Tensors, list[str]]:
    """Split what the file holds into named tensors and the names of all else.

    The tensors stand under `state_dict`, or are the content itself.
    """
    content = content if isinstance(content, dict) else {}
    inner = content.get("state_dict", content)
    inner = inner if isinstance(inner, dict) else {}
    tensors = {str(k): v for k, v in inner.items() if isinstance(v, Tensor)}
    if not tensors:
        raise ValueError("it holds no state_dict of tensors")
    others = [str(k) for k in inner if k not in tensors]
    if inner is not content:
        others += [f"{k} (beside state_dict)" for k in content if k != "state_dict"]
    if all(key.startswith("module.") for key in tensors):  # DistributedDataParallel's prefix
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors, others


class Inert:
    """Stands for an object that we don't need: takes anything, does nothing."""

    def __new__(cls, *_: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def load_content(path: Path) -> object:
    """Load a foreign checkpoint without running anything that it brings along.

    MMEngine saves objects of its own classes and of numpy's beside the weights, and torch's
    `weights_only` refuses such a file whole. Here each of them becomes an `Inert`.

    Raises:
        ValueError: When it is no file of torch's, is damaged, or is Ultralytics' own.
        OSError: When it can't be read.
    """
    with open(path, "rb") as file:  # torch reports a folder or a missing file less clearly
        file.read(1)
    try:
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, pickle.UnpicklingError, EOFError):
        unsafe = []  # not torch's zip format: the load below says what it is
    if any(name.startswith("ultralytics.nn.") for name in unsafe):
        raise ValueError(
            "it is a checkpoint of Ultralytics' already, which yolo and the other commands open as "
            "it is; this one takes those of the AFPN authors' code"
        )
    try:
        with torch.serialization.safe_globals([(Inert, name) for name in unsafe]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        reason = str(error).split(". ")[0].splitlines() or [type(error).__name__]
        raise ValueError(f"torch can't read it as a checkpoint ({reason[0]})") from error
