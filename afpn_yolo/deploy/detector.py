"""Quantise a detector on a user's images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from afpn_yolo.deploy.calibration import calibration_images, inputs
from afpn_yolo.deploy.static import Kept, quantize
from afpn_yolo.edge.model import Model

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Quantized:
    """What came out.

    Attributes:
        kept: The nodes that stayed in float.
        images: How many images were looked at.
        shape: An input of both: batch, channels, height, width.
    """

    kept: Kept
    images: int
    shape: Shape


def quantize_detector(
    source: Path,
    target: Path,
    data: str,
    split: str = "train",
    count: int = 200,
    keep: Sequence[str] = (),
    reduce_range: bool = False,
) -> Quantized:
    """Quantise an ONNX detector that Ultralytics exported.

    Args:
        source: The float model.
        target: File to write.
        data: Images, see `calibration_images`.
        split: Of a data YAML.
        count: At most so many images.
        keep: Shell patterns of names of nodes that stay in float, beside those that always do.
        reduce_range: 7-bit weights, for x86 processors without VNNI.

    Raises:
        OSError, ValueError: When the model or an image can't be used.
    """
    model = Model(source)
    if model.dtype != np.float32:
        raise ValueError(f"{source} takes half precision; export it without half=True")
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} is the float model itself; choose another --out")
    images = calibration_images(data, split, count)
    name = onnx.load(source, load_external_data=False).graph.input[0].name
    kept = quantize(source, target, inputs(model, name, images), keep, reduce_range)
    return Quantized(
        kept=kept,
        images=len(images),
        shape=(1 if model.dynamic else model.batch, 3, *model.size),
    )
