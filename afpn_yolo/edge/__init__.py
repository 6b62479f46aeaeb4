"""Detection with an exported model, without torch: numpy, OpenCV and ONNX Runtime.

    from afpn_yolo.edge import Detector

    found = Detector("best.onnx")("image.jpg")
    found.xyxy, found.scores, found.class_ids, found.names

It gives the detections of `YOLO("best.onnx").predict`, for a list those of each image alone, and
imports nothing else of this package, nor torch, nor ultralytics. On the command line:
`python -m afpn_yolo.edge --help`.
"""

try:
    from afpn_yolo.edge.detections import Detections
    from afpn_yolo.edge.detector import Detector
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"afpn_yolo.edge needs {error.name}, which is not installed: "
        "pip install numpy onnxruntime opencv-python-headless",
        name=error.name,
    ) from None

__all__ = ["Detections", "Detector"]
