"""Checkpoints of every version open, and give the numbers that they gave then.

    python -m tests.plugin.test_kept

writes `kept/VERSION.pt` and `kept/VERSION.npz` for the version at hand. Once released, a pair stays
as it is for good.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from ultralytics import YOLO as Model

import afpn_yolo
from tests.neck import randomise
from tests.processes import ROOT, WITH_TESTS, YOLO, forked, run

KEPT = ROOT / "tests" / "kept"
CHECKPOINTS = sorted(KEPT.glob("*.pt"))
NAMES = {0: "left", 1: "right"}
FUSION = 6
"""The row whose weight maps are kept."""
OPEN = """
import numpy as np
from ultralytics import YOLO
from tests.plugin.test_kept import answers
yolo = YOLO({path!r})
np.savez({out!r}, **answers(yolo.model))
print("NAMES", yolo.names)
"""


def picture() -> Tensor:
    """Some input (1, 3, 64, 96), computed: no generator's numbers are promised for ever."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    return torch.stack([(x * y) % 37 / 37, (x + 2 * y) % 51 / 51, (3 * x + y) % 29 / 29])[None]


def answers(model: Any) -> dict[str, Any]:
    """What a model makes of it: boxes and scores (1, 4 + classes, N), and the maps of a fusion."""
    maps: list[Tensor] = []

    def keep(_: object, __: object, output: Tensor) -> None:
        # Fused, a fusion of two levels predicts the second's weights only.
        maps.append(output if output.shape[1] > 1 else torch.cat([1 - output, output], 1))

    handle = model.model[FUSION].weights.register_forward_hook(keep)
    with torch.no_grad():
        output = model.eval()(picture())[0]
    handle.remove()
    return {"output": output.numpy(), "maps": maps[0].numpy()}


def write() -> None:
    """Write the pair of this version, with Ultralytics' own writer."""
    os.chdir(KEPT)  # the file's name goes into the checkpoint: no folder of this machine
    torch.manual_seed(0)
    yolo = Model("tiny-afpn.yaml")
    model: Any = yolo.model
    randomise(model.model[:-1])
    for scores in model.model[-1].cv3:
        torch.nn.init.normal_(scores[-1].weight, 0, 0.3)
    model.names, model.args = dict(NAMES), {"task": "detect", "imgsz": 64}
    name = afpn_yolo.__version__
    yolo.save(f"{name}.pt")
    np.savez_compressed(f"{name}.npz", **answers(Model(f"{name}.pt").model))


def check(arrays: dict[str, np.ndarray], path: Path) -> None:
    with np.load(path.with_suffix(".npz")) as expected:
        assert arrays.keys() == {*expected}
        for key, value in arrays.items():
            assert value.shape == expected[key].shape
            scale = np.abs(expected[key]).max()
            assert np.abs(value - expected[key]).max() < 1e-4 * scale


def test_this_version_is_kept() -> None:
    assert afpn_yolo.__version__ in [path.stem for path in CHECKPOINTS]
    assert all(path.stat().st_size < 500_000 for path in CHECKPOINTS)


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("safe", ["0", "1"])
def test_open(path: Path, safe: str, tmp_path: Path) -> None:
    code = OPEN.format(path=str(path), out=str(tmp_path / "answers.npz"))
    env = {"ULTRALYTICS_SAFE_LOAD": safe, **WITH_TESTS}
    assert f"NAMES {NAMES}" in forked(code, cwd=tmp_path, env=env).stdout
    with np.load(tmp_path / "answers.npz") as arrays:
        check(dict(arrays), path)


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
def test_fused(path: Path) -> None:
    check(answers(Model(path).model.fuse(verbose=False)), path)


@pytest.mark.slow
@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
def test_train_on(path: Path, small_data: Path, tmp_path: Path) -> None:
    words = ("epochs=1", "imgsz=64", "batch=4", "workers=0", "plots=False", "lr0=0")
    command = (YOLO, "train", f"model={path}", f"data={small_data}", "optimizer=SGD", *words)
    run(*command, f"project={tmp_path}", "name=run", "warmup_epochs=0", cwd=tmp_path)
    before, after = (Model(p).model for p in (path, tmp_path / "run" / "weights" / "last.pt"))
    pairs = zip(before.model[FUSION].parameters(), after.model[FUSION].parameters(), strict=True)
    assert all((a - b).abs().max() < 1e-2 for a, b in pairs)


if __name__ == "__main__":
    write()
