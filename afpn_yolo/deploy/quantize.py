"""Quantise an ONNX file to 8-bit integers, a detector's on a user's images."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)
from tqdm import tqdm

from afpn_yolo.base.files import written_whole
from afpn_yolo.edge import images
from afpn_yolo.edge.letterbox import fill, fit
from afpn_yolo.edge.model import Model
from afpn_yolo.edge.sources import find_images
from afpn_yolo.upstream.data import images_of

Inputs = Iterable[Mapping[str, NDArray[Any]]]
CPUINFO = Path("/proc/cpuinfo")
VNNI = {"avx512_vnni", "avx_vnni"}
"""Flags of x86 processors that add up 8-bit products in 32 bits; others do it in 16."""
PLAIN = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Flatten"})
"""Operators that only rearrange numbers."""


def quantize(
    source: Path,
    target: Path,
    inputs: Inputs,
    keep: Sequence[str] = (),
    reduce_range: bool = False,
    detector: bool = True,
) -> list[str]:
    """Quantise a model statically: weights by channel to signed, features to unsigned 8 bits.

    The result computes with integers in ONNX Runtime (QDQ format), has the source's inputs, outputs
    and metadata, and appears whole or not at all.

    Args:
        source: The float model.
        target: File to write.
        inputs: Like those to come; by name, one batch each.
        keep: Shell patterns of names of more nodes that stay in float.
        reduce_range: 7-bit weights, for x86 processors without VNNI, which saturate with 8.
        detector: Whether its outputs are decoded boxes; a neck's are features.

    Returns:
        Names of the nodes that stay in float.

    Raises:
        ValueError: When the model is quantised already, computes in half precision, or gives
            nothing that ONNX Runtime opens; or when a pattern matches nothing.
    """
    original = onnx.load(source)
    if any(node.op_type == "DequantizeLinear" for node in original.graph.node):
        raise ValueError(f"{source} is quantised already; give the float model")
    if any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in original.graph.initializer):
        raise ValueError(f"{source} computes in half precision; export it in float32")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        # ONNX's own shape inference knows all that a detector has; the symbolic one wants sympy.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(prepared)
        for number, node in enumerate(model.graph.node):  # nodes are excluded by name
            node.name = node.name or f"{node.op_type}_{number}"
        onnx.save(model, prepared)
        floats = matching(model.graph, keep) | (decoding(model.graph) if detector else set())
        with written_whole(target) as part:
            quantize_static(
                str(prepared),
                str(part),
                _Reader(inputs),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduce_range,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=sorted(floats),
            )
            _finish(part, original, source)
    return sorted(floats)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Inputs as ONNX Runtime's calibration asks for them."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> Mapping[str, NDArray[Any]] | None:
        """The next input; None at the end."""
        return next(self._inputs, None)


def _finish(path: Path, original: onnx.ModelProto, source: Path) -> None:
    """Copy the metadata (classes, stride, …) and the format's version; check that it opens."""
    model = onnx.load(path)
    model.ir_version = min(model.ir_version, original.ir_version)
    del model.metadata_props[:]
    model.metadata_props.extend(original.metadata_props)
    onnx.save(model, path)
    try:
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no class of their own in common
        raise ValueError(
            f"{source}: ONNX Runtime {onnxruntime.__version__} can't open what its quantisation "
            f"made of this model, so nothing is written ({' '.join(str(error).split())})"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without ONNX Runtime's remarks about each tensor, on the root logger."""
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(before)


def decoding(graph: GraphProto) -> set[str]:
    """Names of the last convolution of each branch of the head, and of all nodes behind them.

    Scores from 0 to 1 and box sides of hundreds of pixels leave in one tensor: 256 steps for both
    would make most scores equal.

    Args:
        graph: Every node must have a name.
    """
    made_by = {tensor: node for node in graph.node for tensor in node.output}
    names: set[str] = set()
    todo = [output.name for output in graph.output]
    while todo:
        node = made_by.get(todo.pop())
        if node is None or node.name in names:
            continue
        names.add(node.name)
        last = node.op_type == "Conv" and not _averages(node, made_by)
        if not last and node.op_type != "Shape":  # a size is no value of the features
            todo += node.input
    return names


def _averages(convolution: NodeProto, made_by: Mapping[str, NodeProto]) -> bool:
    """Whether a convolution takes the mean of a softmax, which is a part of the decoding."""
    node = made_by.get(convolution.input[0])
    while node is not None and node.op_type in PLAIN:
        node = made_by.get(node.input[0])
    return node is not None and node.op_type == "Softmax"


def matching(graph: GraphProto, patterns: Iterable[str]) -> set[str]:
    """Names of the nodes that shell patterns match: `/model.9/*`.

    A pattern may come from a shell of Windows: with its backslashes, and in quotes.

    Raises:
        ValueError: When a pattern matches none.
    """
    names: set[str] = set()
    for pattern in patterns:
        plain = pattern.strip("'\"").replace("\\", "/")
        matches = {node.name for node in graph.node if fnmatchcase(node.name, plain)}
        if not matches:
            raise ValueError(f"--keep {pattern!r} matches no node, such as {graph.node[0].name!r}")
        names |= matches
    return names


def quantize_detector(
    source: Path,
    target: Path,
    paths: Sequence[Path],
    keep: Sequence[str] = (),
    reduce_range: bool = False,
) -> tuple[list[str], tuple[int, ...]]:
    """Quantise an ONNX detector that Ultralytics exported; see `quantize`.

    Args:
        paths: The images to calibrate on.

    Returns:
        Names of the nodes that stay in float, and the shape of an input of both models.

    Raises:
        OSError, ValueError: When the model or an image can't be used.
    """
    model = Model(source)
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} is the float model itself; choose another --output")
    name = onnx.load(source, load_external_data=False).graph.input[0].name
    size = 1 if model.dynamic else model.batch
    floats = quantize(source, target, _inputs(model, name, size, paths), keep, reduce_range)
    return floats, (size, 3, *model.size)


def _inputs(
    model: Model, name: str, size: int, paths: Sequence[Path]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Batches of `size` images for the input `name`; the last one is filled with the first ones."""
    starts = range(0, len(paths), size)
    for start in tqdm(starts, desc="Calibrating", disable=len(starts) < 2 or None):
        batch = (paths[i % len(paths)] for i in range(start, start + size))
        rows = []
        for image in map(images.read, batch):  # as detection reads and fits them
            height, width = image.shape[:2]
            fitted = fit((height, width), model.size, model.stride if model.dynamic else None)
            rows.append(np.empty((3, *fitted.size), model.dtype))
            fill(rows[-1], image, fitted)
        yield {name: np.stack(rows)}


def calibration_images(data: str, split: str, count: int) -> list[Path]:
    """At most `count` images of a data set, evenly spread: neighbours in a folder are often alike.

    Args:
        data: A data YAML, as `yolo` finds it; or an image, a folder or a pattern.
        split: Of a data YAML.
        count: The largest number of images.

    Raises:
        OSError, ValueError: When there are none.
    """
    is_yaml = data.endswith((".yaml", ".yml"))
    paths = images_of(data, split) if is_yaml else find_images(data)
    count = min(count, len(paths))
    return [paths[i * len(paths) // count] for i in range(count)]


def overflows() -> bool:
    """Whether 8-bit products overflow here: an x86 processor without VNNI, as far as we can see."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    # ARM's line is called "Features".
    return any(x.startswith("flags") and VNNI.isdisjoint(x.split()) for x in lines)
