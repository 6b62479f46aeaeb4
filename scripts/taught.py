#!/usr/bin/env python3
"""Put the neck of a distilled checkpoint into the package, where `pretrained=` finds it.

    afpn distill teacher=yolov8n.pt source=voc/images/train steps=4500
    python scripts/taught.py yolov8n.pt yolov8n-afpn-hybrid.pt

It becomes afpn_yolo/weights/NAME.npz. The teacher must be a COCO checkpoint as Ultralytics
distributes it: its backbone is what the neck is recognised by.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from afpn_yolo.plugin.taught import FOLDER, save_taught
from afpn_yolo.plugin.transfer import last_blocks
from afpn_yolo.upstream.models import load_model


def main() -> int:
    """Write the file."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("teacher", metavar="TEACHER", type=Path, help=".pt of the stock model")
    parser.add_argument("student", metavar="STUDENT", type=Path, help=".pt of afpn distill")
    args = parser.parse_args()
    teacher, student = load_model(args.teacher), load_model(args.student)
    config: Any = student.yaml
    out = FOLDER / Path(config["yaml_file"]).with_suffix(".npz").name
    save_taught(student, last_blocks(teacher, student), out)
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
