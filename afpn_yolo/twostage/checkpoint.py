"""Files of detectors: checkpoints, the tensors that a backbone starts from, and ONNX.

Checkpoints hold tensors and plain values, so nothing in them is run.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList

from afpn_yolo.base.files import written_whole
from afpn_yolo.twostage.config import TrainConfig
from afpn_yolo.upstream.models import read_tensors

FORMAT = "afpn_yolo.twostage"
Content = dict[str, Any]
BODY = "backbone.body."  # the ResNet in a detector
WEIGHTS = (".pth", ".pt", ".npz")  # files of tensors
STRIDE = 32
UNREADABLE = (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError)


def save(path: Path, content: Content) -> None:
    """Write a checkpoint, whole or not at all."""
    with written_whole(path) as part:
        torch.save({"format": FORMAT, **content}, part)


def is_detector(path: Path) -> bool:
    """Whether a file is one of these checkpoints."""
    try:
        return path.suffix == ".pt" and bool(read(path, mmap=True))
    except (OSError, ValueError):
        return False


def read(path: Path, mmap: bool = False) -> Content:
    """Read a checkpoint; with `mmap` its tensors stay in the file until they are used.

    Raises:
        OSError: When the file can't be read.
        ValueError: When it is none of these.
    """
    path.open("rb").close()  # an error of the system's names the file
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except UNREADABLE:
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: no checkpoint of a two-stage detector from afpn train-rcnn")
    if "design" in content:  # the former way to write the same down
        design, sides = content["design"], content["sides"]
        detector = "dynamic" if design["dynamic"] else "faster"
        sizes = {"min_size": sides["shorter"], "max_size": sides["longest"]}
        content["conditions"] = {**design, **sizes, "detector": detector}
    return content


def rebuild(content: Content) -> FasterRCNN:
    """The detector that a checkpoint holds, in training mode."""
    tensors: dict[str, Tensor] = content["model"]
    body = {k.removeprefix(BODY): v for k, v in tensors.items() if k.startswith(BODY)}
    # A backbone that started from weights has its BatchNorm frozen, which counts no batches.
    weights = None if "bn1.num_batches_tracked" in body else body
    model = TrainConfig.of(content["conditions"]).build(len(content["names"]) + 1, weights)
    model.load_state_dict(tensors)
    return model


def open_detector(path: Path) -> tuple[FasterRCNN, dict[int, str]]:
    """Open a checkpoint: the detector, ready to predict, and its classes from 0 on.

    A prediction's `labels` count from 1, since 0 is torchvision's background.

    Raises:
        OSError, ValueError: See `read`.
    """
    content = read(path)
    try:
        return rebuild(content).eval(), dict(content["names"])
    except (RuntimeError, KeyError, TypeError):  # torch's message is a page
        raise ValueError(
            f"{path}: its tensors don't fit the detector that it names; other versions of "
            "torchvision or afpn_yolo wrote it, or it was changed"
        ) from None


def backbone_weights(name: str | None, backbone: str) -> Mapping[str, Tensor] | None:
    """The tensors that a backbone starts from, by torchvision's names.

    Args:
        name: `IMAGENET1K_V1` or another of torchvision's, which may be downloaded; a file; or None.
        backbone: `resnet50` or another of torchvision's.

    Raises:
        OSError: When a file is missing, or torchvision can't download it.
        ValueError: On an unknown name, or a file of other things.
    """
    if name is None:
        return None
    if Path(name).suffix in WEIGHTS:
        return _file(Path(name))
    known = {weights.name: weights for weights in get_model_weights(backbone)}
    if name not in known:
        raise ValueError(
            f"weights {name!r} of {backbone}: choose one of {', '.join(known)}, none, or a file "
            f"({', '.join(WEIGHTS)})"
        )
    try:
        return known[name].get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise OSError(
            f"{known[name].url} can't be downloaded ({error}); download it elsewhere and name the "
            "file, or start from none"
        ) from error


def _file(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".npz":
        content: Any = read_tensors(path)
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except UNREADABLE as error:
            raise ValueError(f"{path}: no file of tensors: {str(error).splitlines()[0]}") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or "conv1.weight" not in content:
        raise ValueError(f"{path}: it has no tensors of a ResNet by torchvision's names")
    return {k: v for k, v in content.items() if isinstance(v, Tensor)}


class Exportable(nn.Module):
    """A detector from a letterboxed picture to one table, as Ultralytics' exports with NMS."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, H, W), red first, from 0 to 1, H and W multiples of 32, to (1, N, 6).

        A row is left, top, right, bottom in pixels, score, and class from 0 on; best first.
        """
        model, size = self.model, (int(image.shape[2]), int(image.shape[3]))
        batch = ImageList(model.transform.normalize(image), [size])
        maps = model.backbone(batch.tensors)
        proposals, _ = model.rpn(batch, maps)
        outputs = model.roi_heads(maps, proposals, [size])[0][0]
        scores, labels = outputs["scores"][:, None], outputs["labels"][:, None].float()
        return torch.cat((outputs["boxes"], scores, labels - 1), 1)[None]


def export(
    model: FasterRCNN, names: dict[int, str], target: Path, size: tuple[int, int] = (800, 1344)
) -> None:
    """Write an ONNX file for pictures that are fitted into a size: height and width.

    Raises:
        ValueError: On sizes that are no multiples of 32.
    """
    if any(side < STRIDE or side % STRIDE for side in size):
        raise ValueError(f"--imgsz: sides must be multiples of {STRIDE}, got {size[0]}x{size[1]}")
    picture = torch.rand(1, 3, *size, device=next(model.parameters()).device)
    import onnx

    with written_whole(target) as part:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's newer exporter can't export torchvision's NMS
            torch.onnx.export(
                Exportable(model),
                (picture,),
                str(part),
                input_names=["images"],
                output_names=["output0"],
                dynamic_axes={"output0": {1: "detections"}},
                opset_version=17,
                dynamo=False,
            )
        graph = onnx.load(part)
        metadata = {"task": "detect", "batch": 1, "imgsz": [*size], "args": {"nms": True}}
        metadata |= {"names": names, "stride": STRIDE}
        onnx.helper.set_model_props(graph, {key: str(value) for key, value in metadata.items()})
        onnx.save(graph, part)
