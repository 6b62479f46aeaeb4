"""Generated detection data set in YOLO format: painted solids on photograph-like grounds.

It needs no download and is the same everywhere: labels depend only on the arguments of
`generate`, pixels also on the OpenCV release that draws and encodes them.
"""

from afpn_yolo.shapes.dataset import generate
from afpn_yolo.shapes.scene import CLASSES

__all__ = ["CLASSES", "generate"]
