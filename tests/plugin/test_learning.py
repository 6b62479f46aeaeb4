"""The README's training on generated data learns. Minutes long: `make test-slow`."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.processes import YOLO, run

COMMAND = """\
yolo train model=yolov5n-afpn.yaml data=shapes.yaml epochs=13 imgsz=192 batch=8 \\
    mosaic=0 warmup_epochs=1 optimizer=AdamW lr0=0.0025 momentum=0.9
"""


@pytest.mark.slow
def test_shapes_are_learnt_from_scratch(tmp_path: Path) -> None:
    env = {"YOLO_CONFIG_DIR": str(tmp_path / "config")}
    run(YOLO, "settings", f"datasets_dir={tmp_path}", cwd=tmp_path, env=env)
    options = ("workers=1", "plots=False", f"project={tmp_path}", "name=run")
    arguments = COMMAND.replace("\\\n", "").split()[1:]
    run(YOLO, *arguments, *options, cwd=tmp_path, env=env)
    rows = list(csv.DictReader((tmp_path / "run" / "results.csv").open()))
    assert max(float(row["metrics/mAP50(B)"]) for row in rows) >= 0.6
