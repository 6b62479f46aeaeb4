"""Models that exist by their name: a stock YAML with a neck put in while it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ultralytics import YOLO
from ultralytics.nn import tasks
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from afpn_yolo.plugin.lookup import named_graft
from tests.graft.stock import content

NOT_OURS = (
    *("yolo11n.yaml", "own-afpn.yaml", "other/yolo11n-afpn.yaml", "/yolo11n-afpn.yaml"),
    *("yolo11n-afpn.pt", "yolo11n-afpn-none-afpn.yaml", "yolo11n-afpnet.yaml"),
)


@pytest.mark.parametrize(
    ("name", "stock", "neck"),
    [
        ("yolo11n-afpn.yaml", ["yolo11n.yaml"], "afpn"),
        ("yolov8s-afpn-lite-seg.yaml", ["yolov8s-seg.yaml"], "lite"),
        ("yolov8s-seg-afpn-lite.yaml", ["yolov8s-seg.yaml"], "lite"),
        ("models/yolo26-afpn-sum.yaml", ["yolo26.yaml"], "sum"),
        ("yolo26n-afpn-concat-p2.yml", ["yolo26n-p2.yaml"], "concat"),
        ("yolo11n-none.yaml", ["yolo11n.yaml"], "none"),
        ("yolo11n-afpn-none-obb.yaml", ["yolo11n-obb.yaml"], "none"),
        ("yolov9t-afpn.yaml", ["yolov9t.yaml"], "afpn"),
        ("yolov5n6-afpn.yaml", ["yolov5n6.yaml"], "afpn"),
        (
            "yolov8n-afpn-p6-pose.yaml",
            ["yolov8n-p6-pose.yaml", "yolov8n-pose-p6.yaml"],
            "afpn",
        ),
        *((name, None, "") for name in NOT_OURS),
    ],
)
def test_names(name: str, stock: list[str] | None, neck: str) -> None:
    graft = named_graft(name)
    assert (graft and ([*graft.stock], graft.neck)) == (stock and (stock, neck))


@pytest.mark.parametrize(
    ("name", "task", "stock"),
    [
        ("yolo11n-afpn.yaml", "detect", "yolo11"),
        ("yolov8n-afpn-lite-seg.yaml", "segment", "yolov8-seg"),
        ("yolo26n-afpn-p2.yaml", "detect", "yolo26-p2"),
        ("yolov8n-afpn-lite-p6-pose.yaml", "pose", "yolov8-pose-p6"),
        ("yolov9t-none.yaml", "detect", "yolov9t"),
        ("yolo12n-afpn-obb.yaml", "obb", "yolo12-obb"),
    ],
)
def test_a_model_by_name(
    name: str, task: str, stock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model: Any = YOLO(name)
    assert model.task == task
    d = model.model.yaml
    assert d["yaml_file"] == name
    assert yaml.safe_load(yaml.safe_dump(d)) == d
    for key in ("backbone", "end2end", "reg_max", "kpt_shape"):
        assert d.get(key) == content(stock).get(key)
    assert not [*tmp_path.iterdir()]


def test_without_a_letter_it_is_the_first_scale_as_ever() -> None:
    assert yaml_model_load("yolo11-afpn.yaml")["scale"] == ""
    assert DetectionModel("yolo11-afpn-lite.yaml", verbose=False).yaml["scale"] in ("", "n")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("yolo11n-afpn-cls.yaml", ValueError),
        ("yolo99n-afpn.yaml", FileNotFoundError),
        ("yolo11n-afpn-p7.yaml", FileNotFoundError),
        ("yolo11q-afpn.yaml", FileNotFoundError),
    ],
)
def test_names_of_nothing(name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        YOLO(name)


def test_a_file_of_that_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = {
        "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 2]]],
        "head": [[[0, 1], 1, "AFPNSum", [0]], [[2, 1], 1, "Detect", ["nc"]]],
    }
    Path("yolo11-afpn.yaml").write_text(yaml.safe_dump({"nc": 7, **rows}))
    for name in ("yolo11n-afpn.yaml", "yolo11-afpn.yaml"):
        assert yaml_model_load(name)["nc"] == 7
    assert yaml_model_load("yolo11n-afpn-lite.yaml")["nc"] == 80


def test_stock_names_are_loaded_as_they_are() -> None:
    load = tasks.yaml_model_load.__wrapped__
    for name in ("yolo11n.yaml", "yolov8s-seg.yaml", "yolov9t.yaml"):
        assert yaml_model_load(name) == load(name)
