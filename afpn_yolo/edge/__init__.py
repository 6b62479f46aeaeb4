"""Detection with an exported model, without torch: numpy, OpenCV and ONNX Runtime.

    from afpn_yolo.edge import Detector

    detections = Detector("best.onnx")("image.jpg")
    detections.xyxy, detections.scores, detections.class_ids, detections.names

It gives the detections of `YOLO("best.onnx").predict`, for a list those of each image alone, and
imports nothing else of this package, nor torch, nor ultralytics. On the command line:
`python -m afpn_yolo.edge --help`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afpn_yolo.edge.detections import Detections
    from afpn_yolo.edge.detector import Detector

__all__ = ["Detections", "Detector"]


def __getattr__(name: str) -> Any:
    """Import when it is asked for: `--help` needs nothing of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from afpn_yolo.edge import detections, detector
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"afpn_yolo.edge needs {error.name}, which is not installed: "
            "pip install numpy onnxruntime opencv-python-headless tqdm",
            name=error.name,
        ) from None
    return {"Detections": detections.Detections, "Detector": detector.Detector}[name]
