"""Detection with an exported model, without torch: numpy, OpenCV and ONNX Runtime.

    from afpn_yolo.edge import Detector

    found = Detector("best.onnx")("image.jpg")
    found.xyxy, found.scores, found.class_ids, found.names

It gives the detections of `YOLO("best.onnx").predict` and imports nothing else of this package, nor
torch, nor ultralytics. On the command line: `python -m afpn_yolo.edge --help`.
"""

from afpn_yolo.edge.detections import Detections
from afpn_yolo.edge.detector import Detector

__all__ = ["Detections", "Detector"]
