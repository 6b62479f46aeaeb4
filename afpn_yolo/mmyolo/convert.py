"""Turn a checkpoint of the authors' MMYOLO code into a YOLOv5 with AFPN for Ultralytics.

Their names, module by module, are mapped to ours. The tensors keep their values but for two things
that leave the function in evaluation as it is:

- their 3x3 convolutions in the residual units carry a bias: it goes into `running_mean - bias`;
- the neck's BatchNorm eps is 1e-5 there and 1e-3 in every model that Ultralytics builds, so the
  scale is multiplied by sqrt((var + 1e-3) / (var + 1e-5)). Writing 1e-5 into the model would not
  last: Ultralytics builds it anew, with 1e-3, when it trains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from afpn_yolo.mmyolo.names import ConvNames, backbone_convs, neck_convs, neck_scores, row_of
from afpn_yolo.mmyolo.safe_load import load_tensors
from afpn_yolo.upstream.models import build_model, save_checkpoint

NECK_EPS = 1e-5  # theirs; in their backbone and in all of ours it is OUR_EPS
OUR_EPS = 1e-3
STEM_WIDTHS = {16: "n", 32: "s", 48: "m", 64: "l", 80: "x"}


class NotAuthorsCheckpointError(ValueError):
    """The file is no checkpoint of the authors' YOLOv5 with AFPN; the message says why."""


@dataclass(frozen=True)
class Conversion:
    """What became of a checkpoint.

    Attributes:
        scale: Scale letter, found from the shapes.
        carried: Their keys whose values are in the model.
        dropped: Their keys that are not, with nothing left out.
    """

    scale: str
    carried: tuple[str, ...]
    dropped: tuple[str, ...]


def convert_convs(
    source: dict[str, Tensor], names: Iterator[ConvNames], eps: float, our_eps: float = OUR_EPS
) -> dict[str, Tensor]:
    """Take convolutions with BatchNorm out of their state dict, as ours.

    Args:
        source: Their tensors by name; what is used is removed.
        names: Which to take.
        eps: Their BatchNorm eps.
        our_eps: Ours.

    Raises:
        KeyError: When one is missing.
        NotAuthorsCheckpointError: When the tensors of one don't fit together.
    """
    result: dict[str, Tensor] = {}
    for pair in names:
        _check_shapes(source, pair)
        result[f"{pair.ours}.conv.weight"] = source.pop(f"{pair.conv}.weight")
        var = source.pop(f"{pair.bn}.running_var")
        ratio = ((var.double() + our_eps) / (var.double() + eps)).sqrt()
        mean = source.pop(f"{pair.bn}.running_mean")
        bias = source.pop(f"{pair.conv}.bias", None)
        bn = {
            "weight": (source.pop(f"{pair.bn}.weight").double() * ratio).to(var.dtype),
            "bias": source.pop(f"{pair.bn}.bias"),
            "running_mean": mean if bias is None else mean - bias,
            "running_var": var,
        }
        batches = source.pop(f"{pair.bn}.num_batches_tracked", None)
        if batches is not None:
            bn["num_batches_tracked"] = batches
        result.update({f"{pair.ours}.bn.{key}": value for key, value in bn.items()})
    return result


def _check_shapes(source: dict[str, Tensor], pair: ConvNames) -> None:
    weight = source[f"{pair.conv}.weight"]
    if weight.ndim != 4:
        raise NotAuthorsCheckpointError(f"{pair.conv}.weight has shape {[*weight.shape]}")
    vectors = [f"{pair.bn}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    vectors += [name for name in (f"{pair.conv}.bias",) if name in source]
    for name in vectors:
        if source[name].shape != weight.shape[:1]:
            raise NotAuthorsCheckpointError(
                f"{name} has shape {[*source[name].shape]}, expected {[*weight.shape[:1]]}"
            )


def prefixed(names: Iterator[ConvNames], prefix: str) -> Iterator[ConvNames]:
    """The same with a prefix to their names."""
    return (ConvNames(prefix + n.conv, prefix + n.bn, n.ours) for n in names)


def find_scale(tensors: dict[str, Tensor]) -> str:
    """Tell the scale from the width of the backbone's first convolution.

    Raises:
        NotAuthorsCheckpointError: When there is none, no AFPN neck, or an unknown width.
    """
    stem = tensors.get("backbone.stem.conv.weight")
    if stem is None or stem.ndim != 4:
        raise NotAuthorsCheckpointError(
            "it has no convolution backbone.stem.conv.weight: no YOLOv5 of MMYOLO's"
        )
    if not any(key.startswith("neck.body.0.asff_") for key in tensors):
        raise NotAuthorsCheckpointError("it has no keys neck.body.0.asff_*: its neck is not AFPN")
    scale = STEM_WIDTHS.get(stem.shape[0])
    if scale is None:
        raise NotAuthorsCheckpointError(
            f"its backbone starts with {stem.shape[0]} channels, YOLOv5's with {[*STEM_WIDTHS]}"
        )
    return scale


def convert(source: Path, target: Path, scale: str | None = None, nc: int = 80) -> Conversion:
    """Write an Ultralytics checkpoint with the backbone and the neck of one of the authors'.

    The detection head is Ultralytics' own and starts untrained: theirs is another kind.

    Args:
        source: Their `.pth`.
        target: The `.pt` to write.
        scale: Scale that the user expects; None accepts what the shapes say.
        nc: Number of classes of the new head.

    Raises:
        NotAuthorsCheckpointError: When `source` is no such checkpoint, or of another scale.
        OSError: When a file can't be read or written.
    """
    tensors, others = split_content(load_tensors(source))
    everything = tuple(tensors)
    found = find_scale(tensors)
    if scale not in (None, found):
        raise NotAuthorsCheckpointError(f"its shapes are those of scale {found}, not {scale}")
    model = build_model("yolov5-afpn.yaml", found, nc)
    try:
        ours = convert_convs(tensors, prefixed(backbone_convs(model), "backbone."), OUR_EPS)
        ours |= convert_convs(tensors, prefixed(neck_convs(), "neck."), NECK_EPS)
        for theirs, name in neck_scores():
            for part in ("weight", "bias"):
                ours[f"{name}.{part}"] = tensors.pop(f"neck.{theirs}.{part}")
    except KeyError as error:
        raise NotAuthorsCheckpointError(f"it lacks the key {error} of scale {found}") from None
    _load(model, {f"model.{key}": value for key, value in ours.items()})
    save_checkpoint(model, target)
    carried = tuple(key for key in everything if key not in tensors)
    return Conversion(found, carried, (*tensors, *others))


def split_content(content: object) -> tuple[dict[str, Tensor], list[str]]:
    """Split what the file holds into named tensors and the names of all else.

    The tensors stand under `state_dict`, or are the content itself.
    """
    content = content if isinstance(content, dict) else {}
    inner = content.get("state_dict", content)
    inner = inner if isinstance(inner, dict) else {}
    tensors = {str(k): v for k, v in inner.items() if isinstance(v, Tensor)}
    if not tensors:
        raise NotAuthorsCheckpointError("it holds no state_dict of tensors")
    others = [str(k) for k in inner if k not in tensors]
    if inner is not content:
        others += [f"{k} (beside state_dict)" for k in content if k != "state_dict"]
    if all(key.startswith("module.") for key in tensors):  # DistributedDataParallel's prefix
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors, others


def _load(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    state = model.state_dict()
    for key, value in tensors.items():
        if state[key].shape != value.shape:
            raise NotAuthorsCheckpointError(
                f"{key}, as we name it, has shape {[*value.shape]}, expected {[*state[key].shape]}"
            )
    missing = model.load_state_dict(tensors, strict=False).missing_keys
    head = max(row_of(key) for key in state)
    forgotten = [k for k in missing if row_of(k) < head and "num_batches" not in k]
    if forgotten:
        raise RuntimeError(f"the mapping of names has a gap: {forgotten}")  # a bug of ours
