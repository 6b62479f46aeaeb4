"""One of several processes that train together, as torchrun starts them: its file is a JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from afpn_yolo.twostage.plan import Plan
from afpn_yolo.twostage.train import train


def main(job: Path) -> None:
    """Train what a file says."""
    said = json.loads(job.read_text(encoding="utf-8"))
    train(Plan.of(said["plan"]), Path(said["folder"]), None, said["workers"], resume=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
