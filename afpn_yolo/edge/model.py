"""An ONNX file that Ultralytics exported: its session and what its metadata says."""

from __future__ import annotations

import ast
import os
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from afpn_yolo.edge.letterbox import Size

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
REMEDY = "export it with: yolo export model=best.pt format=onnx"
MOST = 1 << 14  # no size, stride or batch is larger
Provider = str | tuple[str, dict[str, Any]]  # of ONNX Runtime: a name, or name and options

UNREAD = {"detect": "", "segment": "masks", "pose": "keypoints", "obb": ""}
"""Tasks whose boxes can be read, and what else such a model gives that isn't."""


def _count(value: Any) -> int:
    if not 1 <= int(value) <= MOST:
        raise ValueError(value)
    return int(value)


METADATA: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "names": ("{}", lambda value: {int(number): str(name) for number, name in value.items()}),
    "stride": ("32", _count),
    "imgsz": ("[640, 640]", lambda value: (_count(value[0]), _count(value[1]))),
    "batch": ("1", _count),
    "args": ("{}", lambda value: bool(value.get("nms"))),
    "end2end": ("False", bool),
}
"""What is read of the metadata: the default, and what checks and converts it."""


class Model:
    """A model that gives boxes, in ONNX Runtime.

    Attributes:
        task: One of `UNREAD`.
        names: Class number -> name.
        stride: Sides of the input are multiples of it.
        size: Height and width: the only ones, or those it was exported with if `dynamic`.
        dynamic: Whether it takes other sizes.
        batch: How many images it takes at once: exactly so many unless `dynamic`.
        suppressed: Whether its boxes need no suppression: the model has it inside, or its head is
            an end-to-end one.
        dtype: The input's type.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int | None = None,
        providers: Sequence[Provider] = ("CPUExecutionProvider",),
    ) -> None:
        """Open a model.

        Args:
            path: The .onnx file.
            threads: Threads of a run; None leaves it to ONNX Runtime.
            providers: Execution providers of ONNX Runtime, best first: names, or
                `(name, {option: value})`. It warns of those that are not installed.

        Raises:
            OSError: When the file can't be read.
            ValueError: When it is no model of Ultralytics' with boxes, or an option can't work.
        """
        self._path = os.fspath(path)
        open(self._path, "rb").close()  # its error names the file and the reason
        if self._path.endswith((".pt", ".pth")):
            raise ValueError(
                f"{path}: it is a PyTorch checkpoint, and an ONNX model is needed; first: yolo "
                f"export model={path} format=onnx (one of afpn train-rcnn: afpn export-rcnn)"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        try:
            self._session = onnxruntime.InferenceSession(
                self._path, options, providers=[*providers]
            )
        except Exception as error:  # its exceptions have no base class of their own
            raise ValueError(
                f"{path}: ONNX Runtime {onnxruntime.__version__} can't open it; damaged, or no "
                f"ONNX model ({_one_line(error)})"
            ) from error
        try:
            self._read_metadata(self._session.get_modelmeta().custom_metadata_map)
            self._read_shapes()
        except ValueError as error:
            raise ValueError(f"{self._path}: {error}") from None

    def _read_metadata(self, metadata: dict[str, str]) -> None:
        """Take over what the metadata says; every value can be odd or tampered with."""
        task = metadata.get("task")
        if task is None or "names" not in metadata:
            raise ValueError(f"not exported by Ultralytics, its metadata lacks names; {REMEDY}")
        if task not in UNREAD:
            raise ValueError(
                f"a model for the task {task}, but only {', '.join(UNREAD)} have boxes"
            )
        values: dict[str, Any] = {}
        for key, (default, convert) in METADATA.items():
            text = metadata.get(key, default)
            try:
                values[key] = convert(ast.literal_eval(text))
            except Exception:  # a literal can be of any type, or nested too deeply for the parser
                raise ValueError(f"damaged metadata: {key} is {reprlib.repr(text)}") from None
        self.task = task
        self.names: dict[int, str] = values["names"]
        self.stride: int = values["stride"]
        self.size: Size = values["imgsz"]
        self.batch: int = values["batch"]
        self.suppressed: bool = values["end2end"] or values["args"]

    def _read_shapes(self) -> None:
        """Prefer what the graph itself says, and check that the rest agrees with the metadata."""
        (image, *more), outputs = self._session.get_inputs(), self._session.get_outputs()
        if more or image.type not in TYPES or len(image.shape) != 4:
            raise ValueError(f"takes {image.type} of shape {image.shape}, not images")
        if image.shape[1] != 3:
            raise ValueError(
                f"takes images of shape {image.shape}, and only colour ones, of 3 channels, are "
                "made here; yolo predict takes others"
            )
        self._input, self.dtype = image.name, TYPES[image.type]
        batch, _, height, width = image.shape
        self.dynamic = not (isinstance(height, int) and isinstance(width, int))
        if not self.dynamic:
            self.size = (height, width)
        self.batch = batch if isinstance(batch, int) else self.batch
        shapes = [output.shape for output in outputs]
        self.suppressed |= self.task == "detect" and shapes[0][-1:] == [6]
        self._outputs = [output.name for output in outputs[: 1 + (self.task == "segment")]]
        if not self._suits(shapes[0], shapes[1:]):
            raise ValueError(
                f"gives an output of shape {shapes[0]}, which doesn't suit the task {self.task} "
                f"and its {len(self.names)} classes; {REMEDY}"
            )

    def _suits(self, output: list[Any], others: list[list[Any]]) -> bool:
        """Whether the boxes' output has as many values for each as the task asks for."""
        if len(output) != 3:
            return False
        values = output[-1 if self.suppressed else 1]
        if not isinstance(values, int):  # its name, where the graph leaves it open
            return True
        rest = values - (6 if self.suppressed else 4 + len(self.names))
        if self.task == "segment":  # a coefficient for each prototype of the masks
            return len(others) > 0 and len(others[0]) == 4 and rest == others[0][1]
        return bool({"detect": rest == 0, "obb": rest == 1, "pose": rest > 1}[self.task])

    def run(self, images: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Run a batch (B, 3, H, W) of `dtype`.

        Returns:
            (B, 4 + classes + rest, anchors), or (B, N, 6 + rest) where `suppressed`; for
            segmentation the masks' prototypes (B, C, h, w) behind.

        Raises:
            ValueError: When ONNX Runtime fails.
        """
        try:
            outputs = self._session.run(self._outputs, {self._input: images})
        except Exception as error:  # as above
            raise ValueError(f"{self._path}: ONNX Runtime fails: {_one_line(error)}") from error
        return [np.asarray(output, np.float32) for output in outputs]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
