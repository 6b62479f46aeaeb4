"""Detect objects in images, folders, videos or a camera, with an exported model, without torch."""

from afpn_yolo.edge.__main__ import __doc__, run
from afpn_yolo.edge.command import add_arguments

__all__ = ["__doc__", "add_arguments", "run"]
