"""Generated data set in YOLO format: painted solids on photograph-like grounds.

It needs no download and is the same everywhere: boxes and keypoints depend only on the arguments of
`generate`, pixels, outlines and rotated boxes also on the OpenCV release.
"""

from afpn_yolo.shapes.dataset import generate
from afpn_yolo.shapes.scene import CLASSES

__all__ = ["CLASSES", "generate"]
