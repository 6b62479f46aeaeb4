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


def test_yolo_does_the_same_with_a_stock_model(small_data: Path, tmp_path: Path) -> None:
    """It trains, validates, predicts and exports."""
    results = []
    for kind in ("with", "without"):
        folder = tmp_path / kind
        folder.mkdir()
        weights = folder / "train" / "weights"
        data, model = f"data={small_data}", f"model={weights / 'last.pt'}"
        files = ("save_txt=True", "save_conf=True", "conf=0.001", f"project={folder}")
        train = ("model=yolov8n.yaml", data, *TRAIN, "epochs=2", files[-1], "name=train")
        words = [
            ("train", *train),
            ("val", model, data, *TRAIN, *files, "name=val"),
            ("predict", model, f"source={ASSETS}", "imgsz=160", "name=predict", *files),
            ("export", model, "format=onnx", "imgsz=64"),
        ]
        code = COMMANDS.format(words=words)
        if kind == "with":
            forked(HOOKED + code, cwd=folder)
        else:
            run(*without_us(code), cwd=folder)
        network: Any = Model(weights / "last.pt").model
        with (folder / "train" / "results.csv").open() as file:
            rows = [{k: v for k, v in row.items() if k != "time"} for row in csv.DictReader(file)]
        labels = {
            (mode, path.name): path.read_text()
            for mode in ("val", "predict")
            for path in (folder / mode / "labels").iterdir()
        }
        graph = onnx.load(weights / "last.onnx").graph.SerializeToString()
        results.append((rows, digest(iter(network.state_dict().values())), labels, graph))
    assert results[0] == results[1]
    assert len(results[0][0]) == 2
    assert {mode for (mode, _), text in results[0][2].items() if text} == {"val", "predict"}
