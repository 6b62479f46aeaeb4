#!/usr/bin/env python3
"""Put the necks of distilled checkpoints into the package, where `pretrained=` finds them.

    afpn distill teacher=yolov8n.pt source=voc/images/train steps=15000
    python scripts/taught.py yolov8n-afpn-lite.pt

Each becomes afpn_yolo/weights/NAME.npz. The teacher must be a COCO checkpoint as Ultralytics
distributes it: its backbone is what the neck is recognised by.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from afpn_yolo.plugin.taught import FOLDER, save_taught
from afpn_yolo.upstream.models import load_model


def main() -> int:
    """Write a file for each checkpoint."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("checkpoints", metavar="CHECKPOINT", nargs="+", type=Path)
    for path in parser.parse_args().checkpoints:
        out = FOLDER / f"{path.stem}.npz"
        save_taught(load_model(path), out)
        print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
