"""Checkpoints of every version open, and give the numbers that they gave then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import afpn_yolo
from tests.kept_checkpoint import FUSION, KEPT, NAMES, answers
from tests.processes import WITH_TESTS, YOLO, forked, run

CHECKPOINTS = sorted(KEPT.glob("*.pt"))
OPEN = """
import numpy as np
from ultralytics import YOLO
from tests.kept_checkpoint import answers
yolo = YOLO({path!r})
np.savez({out!r}, **answers(yolo.model))
print("NAMES", yolo.names)
"""


def check(found: dict[str, np.ndarray], path: Path) -> None:
    with np.load(path.with_suffix(".npz")) as expected:
        assert found.keys() == {*expected}
        for key, value in found.items():
            assert value.shape == expected[key].shape
            scale = np.abs(expected[key]).max()
            assert np.abs(value - expected[key]).max() < 1e-4 * scale


def test_this_version_is_kept() -> None:
    assert afpn_yolo.__version__ in [path.stem for path in CHECKPOINTS]
    assert all(path.stat().st_size < 500_000 for path in CHECKPOINTS)


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("safe", ["0", "1"])
def test_open(path: Path, safe: str, tmp_path: Path) -> None:
    code = OPEN.format(path=str(path), out=str(tmp_path / "found.npz"))
    env = {"ULTRALYTICS_SAFE_LOAD": safe, **WITH_TESTS}
    assert f"NAMES {NAMES}" in forked(code, cwd=tmp_path, env=env).stdout
    with np.load(tmp_path / "found.npz") as found:
        check(dict(found), path)


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
def test_fused(path: Path) -> None:
    from ultralytics import YOLO as Model

    check(answers(Model(path).model.fuse(verbose=False)), path)


@pytest.mark.slow
@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
def test_train_on(path: Path, small_data: Path, tmp_path: Path) -> None:
    words = (
        "epochs=1",
        "imgsz=64",
        "batch=4",
        "workers=0",
        "plots=False",
        "lr0=0",
        "optimizer=SGD",
    )
    command = (YOLO, "train", f"model={path}", f"data={small_data}", *words)
    run(*command, f"project={tmp_path}", "name=run", "warmup_epochs=0", cwd=tmp_path)
    from ultralytics import YOLO as Model

    before, after = (Model(p).model for p in (path, tmp_path / "run" / "weights" / "last.pt"))
    pairs = zip(before.model[FUSION].parameters(), after.model[FUSION].parameters(), strict=True)
    assert all((a - b).abs().max() < 1e-2 for a, b in pairs)
