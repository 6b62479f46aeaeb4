"""From a float ONNX file to one in 8-bit integers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from afpn_yolo.base.files import written_whole
from afpn_yolo.deploy.graph import decoding, matching


@dataclass(frozen=True)
class Kept:
    """Names of the nodes that stayed in float, by the reason."""

    decoding: frozenset[str]
    asked: frozenset[str]

    def all(self) -> list[str]:
        """Every name once, sorted."""
        return sorted(self.decoding | self.asked)


def quantize(
    source: Path,
    target: Path,
    inputs: Iterable[Mapping[str, NDArray[Any]]],
    keep: Sequence[str] = (),
    reduce_range: bool = False,
    detector: bool = True,
) -> Kept:
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

    Raises:
        ValueError: When the model is quantised already, computes in half precision, or gives
            nothing that ONNX Runtime opens; or when a pattern matches nothing.
    """
    original = onnx.load(source)
    if any(node.op_type == "DequantizeLinear" for node in original.graph.node):
        raise ValueError(f"{source} is quantised already; give the float model")
    if any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in original.graph.initializer):
        raise ValueError(f"{source} computes in half precision; export it without half=True")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        # ONNX's own shape inference knows all that a detector has; the symbolic one wants sympy.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        model = _named(onnx.load(prepared))
        onnx.save(model, prepared)
        kept = Kept(
            frozenset(decoding(model.graph) if detector else ()),
            frozenset(matching(model.graph, keep)),
        )
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
                nodes_to_exclude=kept.all(),
            )
            _finish(part, original)
            _check_opens(part, source)
    return kept


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Inputs as ONNX Runtime's calibration asks for them."""

    def __init__(self, inputs: Iterable[Mapping[str, NDArray[Any]]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> Mapping[str, NDArray[Any]] | None:
        """The next input; None at the end."""
        return next(self._inputs, None)


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give every node a name of its own: nodes are excluded by name."""
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return model


def _finish(path: Path, original: onnx.ModelProto) -> None:
    """Put the original's metadata (classes, stride, size, …) and version of the format in."""
    model = onnx.load(path)
    model.ir_version = min(model.ir_version, original.ir_version)
    del model.metadata_props[:]
    model.metadata_props.extend(original.metadata_props)
    onnx.save(model, path)


def _check_opens(path: Path, source: Path) -> None:
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
