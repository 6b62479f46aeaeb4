"""An ONNX file that Ultralytics exported: its session and what its metadata says."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from afpn_yolo.edge.letterbox import Size

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
CHECKPOINTS = (".pt", ".pth")
REMEDY = "export it with: yolo export model=best.pt format=onnx"
MOST_PIXELS, MOST_IMAGES = 1 << 14, 1 << 10  # more is no size or batch that anybody exports
T = TypeVar("T")
Provider = str | tuple[str, dict[str, Any]]
"""An execution provider of ONNX Runtime: its name, or that and its options."""

UNREAD = {"detect": "", "segment": "masks", "pose": "keypoints", "obb": ""}
"""Tasks whose boxes can be read, and what else such a model gives that isn't."""


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
            providers: Execution providers of ONNX Runtime, best first: a name, or name and options.

        Raises:
            OSError: When the file can't be read.
            ValueError: When it is no model of Ultralytics' with boxes, or an option can't work.
        """
        self._path = os.fspath(path)
        self._session = _open(self._path, threads, providers)
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
        self.task = task
        self.names: dict[int, str] = _entry(metadata, "names", {}, _names)
        self.stride = _entry(metadata, "stride", 32, _up_to(MOST_PIXELS))
        side = _up_to(MOST_PIXELS)
        self.size: Size = _entry(metadata, "imgsz", (640, 640), lambda v: (side(v[0]), side(v[1])))
        self.batch = _entry(metadata, "batch", 1, _up_to(MOST_IMAGES))
        embedded = _entry(metadata, "args", False, lambda v: bool(v.get("nms")))
        self.suppressed = _entry(metadata, "end2end", False, bool) or embedded

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
        found = output[-1 if self.suppressed else 1]
        if not isinstance(found, int):  # its name, where the graph leaves it open
            return True
        rest = found - (6 if self.suppressed else 4 + len(self.names))
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
        except Exception as error:  # its exceptions have no base class of their own
            raise ValueError(f"{self._path}: ONNX Runtime fails: {_one_line(error)}") from error
        return [np.asarray(output, np.float32) for output in outputs]


def _open(
    path: str, threads: int | None, providers: Sequence[Provider]
) -> onnxruntime.InferenceSession:
    available = onnxruntime.get_available_providers()
    names = [provider if isinstance(provider, str) else provider[0] for provider in providers]
    if missing := [name for name in names if name not in available]:
        raise ValueError(f"this ONNX Runtime has no {', '.join(missing)}, only {available}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads or 0)
    open(path, "rb").close()  # its error names the file and the reason
    if path.endswith(CHECKPOINTS):
        raise ValueError(
            f"{path}: it is a PyTorch checkpoint, and an ONNX model is needed; first: yolo export "
            f"model={path} format=onnx (one of afpn train-rcnn: afpn export-rcnn)"
        )
    try:
        return onnxruntime.InferenceSession(path, options, providers=list(providers))
    except Exception as error:  # its exceptions have no base class of their own
        raise ValueError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} can't open it; damaged, or no ONNX "
            f"model ({_one_line(error)})"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _entry(metadata: dict[str, str], key: str, default: T, convert: Callable[[Any], T]) -> T:
    """A value of the metadata, or the default where there is none.

    Raises:
        ValueError: When it is no Python literal, or `convert` raises anything.
    """
    if key not in metadata:
        return default
    try:
        return convert(ast.literal_eval(metadata[key]))
    except Exception:  # a literal can be of any type, or nested too deeply for the parser
        text = metadata[key]
        shown = repr(text if len(text) <= 60 else f"{text[:60]}...")
        raise ValueError(f"its metadata is damaged: {key} is {shown}") from None


def _names(value: Any) -> dict[int, str]:
    return {int(number): str(name) for number, name in dict(value).items()}


def _up_to(most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not 1 <= int(value) <= most:
            raise ValueError(f"{value} is not from 1 to {most}")
        return int(value)

    return check
