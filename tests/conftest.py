"""Keep Ultralytics from writing into, or reading, the settings of whoever runs the tests."""

import os
import tempfile

_CONFIG = tempfile.mkdtemp(prefix="ultralytics-config-")
os.environ["YOLO_CONFIG_DIR"] = _CONFIG
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_OFFLINE"] = "true"
