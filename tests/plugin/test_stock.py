"""With this package installed, stock models are to the bit what they are without it.

Every comparison is of two processes: one with the start-up file's hook, as a user has it, and one
in which this package can't even be imported.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from ultralytics import YOLO as Model
from ultralytics.utils import ASSETS

from tests.conftest import TRAIN
from tests.processes import COMMANDS, ROOT, forked, run, without_us
from tests.stock_models import digest, shipped_names

SCRIPT = ROOT / "tests" / "stock_models.py"
RUN = f"import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
HOOKED = """
from ultralytics.nn import tasks
assert hasattr(tasks, "AFPN_LAYERS")
"""
SAMPLE = {  # every task and many kinds of rows; those that the installed version ships
    *("yolov5n-p6.yaml", "yolov6n.yaml", "yolov8n-cls.yaml", "yolov8n-pose.yaml", "yolov9t.yaml"),
    *("yolov8n-worldv2.yaml", "yolov8n-rtdetr.yaml", "yolov10n.yaml", "yolo11n-obb.yaml"),
    *("yoloe-11n-seg.yaml", "yolo12n.yaml", "yolo26n-depth.yaml", "yolo26n-sem.yaml"),
}


def compare_models(folder: Path, names: list[str]) -> dict[str, Any]:
    """Build models with and without us; returns what came of them, which must be the same."""
    results = (forked(HOOKED + RUN, *names, cwd=folder), run(*without_us(RUN), *names, cwd=folder))
    hooked, bare = (json.loads(result.stdout.splitlines()[-1]) for result in results)
    assert hooked.keys() == bare.keys()
    for name, expected in bare.items():
        assert hooked[name] == expected, name
    return bare


def test_a_sample_of_stock_models_is_the_same(tmp_path: Path) -> None:
    names = sorted(SAMPLE & {name for name, _ in shipped_names()})
    assert len(names) >= 10
    found = compare_models(tmp_path, names)
    assert len({model["answer"] for model in found.values()}) == len(names)


@pytest.mark.slow
def test_every_stock_model_at_every_scale_is_the_same(tmp_path: Path) -> None:
    found = compare_models(tmp_path, [])
    assert len(found) == len([*shipped_names()]) > 200


@pytest.fixture(scope="module", params=["yolov8n"])
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, small_data: Path
) -> list[Path]:
    """Folders in which `yolo` trained, validated, predicted and exported: with us, and without."""
    folders = []
    for kind in ("with", "without"):
        folder = tmp_path_factory.mktemp(kind)
        last = folder / "train" / "weights" / "last.pt"
        files = ("save_txt=True", "save_conf=True", "conf=0.001", f"project={folder}")
        train = (f"model={request.param}.yaml", f"data={small_data}", *TRAIN, "epochs=2", files[-1])
        predict = (f"model={last}", f"source={ASSETS}", "imgsz=160", "name=predict")
        code = COMMANDS.format(
            words=[
                ("train", *train, "name=train"),
                ("val", f"model={last}", f"data={small_data}", *TRAIN, *files, "name=val"),
                ("predict", *predict, *files),
                ("export", f"model={last}", "format=onnx", "imgsz=64"),
            ]
        )
        if kind == "with":
            forked(HOOKED + code, cwd=folder)
        else:
            run(*without_us(code), cwd=folder)
        folders.append(folder)
    return folders


def test_training_a_stock_model_is_the_same(runs: list[Path]) -> None:
    results = []
    for folder in runs:
        model: Any = Model(folder / "train" / "weights" / "last.pt").model
        with (folder / "train" / "results.csv").open() as file:
            rows = [{k: v for k, v in row.items() if k != "time"} for row in csv.DictReader(file)]
        results.append((rows, digest(iter(model.state_dict().values()))))
    assert results[0] == results[1]
    assert len(results[0][0]) == 2


@pytest.mark.parametrize("mode", ["val", "predict"])
def test_validating_and_predicting_with_a_stock_model_are_the_same(
    runs: list[Path], mode: str
) -> None:
    labels = [
        {path.name: path.read_text() for path in (folder / mode / "labels").iterdir()}
        for folder in runs
    ]
    assert labels[0] == labels[1]
    assert sum(text.count("\n") for text in labels[0].values()) > 0


def test_exporting_a_stock_model_is_the_same(runs: list[Path]) -> None:
    graphs = [onnx.load(folder / "train" / "weights" / "last.onnx").graph for folder in runs]
    assert graphs[0].SerializeToString() == graphs[1].SerializeToString()
