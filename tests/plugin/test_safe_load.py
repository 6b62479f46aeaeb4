"""Checkpoints under `ULTRALYTICS_SAFE_LOAD=1`, and where this package is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics.nn import tasks

from tests.processes import forked, python

SAFE = {"ULTRALYTICS_SAFE_LOAD": "1"}
needs_safe_load = pytest.mark.skipif(
    not hasattr(tasks, "_SafeLoad"), reason="this Ultralytics knows no safe loading"
)
OPEN = "from ultralytics import YOLO; print(type(YOLO(r'{path}').model.model[16]).__name__)"


@needs_safe_load
def test_every_fusion_is_loaded_safely(tmp_path: Path) -> None:
    from tests.lively import save_lively

    for fusion in ("", "-sum", "-concat"):
        save_lively(fusion, tmp_path / f"afpn{fusion}.pt")
    code = "from ultralytics import YOLO\n"
    code += "for name in ('', '-sum', '-concat'): print(len(YOLO(f'afpn{name}.pt').model.model))"
    assert forked(code, cwd=tmp_path, env=SAFE).stdout.split() == ["30"] * 3


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched"),))


@needs_safe_load
def test_a_run_that_goes_on_heeds_it(tmp_path: Path) -> None:
    """`compare_necks.py` looks into a `last.pt` before it hands it to Ultralytics."""
    last = tmp_path / "run" / "weights" / "last.pt"
    last.parent.mkdir(parents=True)
    torch.save({"epoch": 0, "evil": Evil()}, last)
    code = "from pathlib import Path; from afpn_yolo.upstream.train import resumable\n"
    code += f"print(resumable(Path({str(last.parent)!r})))"
    assert forked(code, cwd=tmp_path, env=SAFE).stdout.endswith("[]\n")
    assert not (tmp_path / "touched").exists()
    forked(code, cwd=tmp_path, env={"ULTRALYTICS_SAFE_LOAD": "0"})
    assert (tmp_path / "touched").exists()


def test_switched_off_there_are_neither_names_nor_classes_of_ours(
    best: Path, tmp_path: Path
) -> None:
    safe = hasattr(tasks, "_SafeLoad")  # without it, unpickling imports our classes
    models = ["yolov5n-afpn.yaml", *([str(best)] if safe else [])]
    code = f"""
from ultralytics import YOLO
for model in {models!r}:
    try:
        print("opened", YOLO(model))
    except Exception as error:
        print(type(error).__name__, error)
"""
    output = python(code, tmp_path, env={**SAFE, "AFPN_YOLO_DISABLE": "1"})
    assert "FileNotFoundError" in output
    assert "yolov5" in output
    assert "opened" not in output
    assert ("types outside the supported" in output) == safe
