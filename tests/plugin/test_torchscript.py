"""`yolo export format=torchscript` of a model with AFPN layers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from ultralytics import YOLO

from tests.lively import PHOTOGRAPHS, blob


def test_torchscript_says_what_the_model_says(lively: Path, tmp_path: Path) -> None:
    checkpoint = Path(shutil.copy(lively, tmp_path))
    path = YOLO(checkpoint).export(format="torchscript", imgsz=160, verbose=False)
    exported = torch.jit.load(path).eval()  # type: ignore[no-untyped-call]
    model: Any = YOLO(checkpoint).model.float().eval()
    for photograph in PHOTOGRAPHS:
        image = blob(photograph, 160, 160)
        with torch.no_grad():
            expected, found = model(image)[0], exported(image)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        assert expected[:, 4:].std() > 0.01  # agreeing on nothing would prove nothing
    found = YOLO(path, task="detect").predict(PHOTOGRAPHS[0], imgsz=160, conf=0.1, verbose=False)
    assert len(found[0].boxes) > 3
