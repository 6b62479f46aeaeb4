"""Which of Ultralytics' arguments a comparison takes by `--set`, and how they are read."""

from __future__ import annotations

from typing import Any

import pytest
from ultralytics.utils import DEFAULT_CFG_DICT

from afpn_yolo.compare.plan import Conditions
from afpn_yolo.compare.settings import FAIR, OWN, REFUSED
from afpn_yolo.upstream.overrides import read_settings


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        *(({key: 1}, f"^{key}: set by the comparison itself") for key in ("epochs", "seed", "val")),
        ({"compile": True}, "compile=True: it changes the time"),
        ({"profile": True}, "afpn benchmark measures"),
        ({"split": "train"}, "split=train: .* not on what it learnt from"),
        ({"save": False}, "save=False: .* could not go on"),
        ({"classes": [0]}, r"classes=\[0\]: .* write a data YAML of these classes"),
        ({"single_cls": True}, "single_cls=True: .* one class"),
        ({"fraction": [0.5, 0.5]}, "fraction=.* takes all of its images"),
        ({"freeze": ["23.cv2"]}, "freeze=.* another one in each neck"),
        ({"iou": 0.5}, "iou=0.5: the evaluation is COCO's"),
        ({"opset": 17}, "opset=17: it has no effect"),
        ({"lr_of_next_year": 1}, "doesn't know whether it is fair"),
    ],
)
def test_settings_under_which_runs_could_not_be_compared(
    extra: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Conditions("my.yaml", epochs=3, imgsz=64, batch=4, extra={"lr0": 0.1} | extra)


def test_settings_that_reach_every_neck_alike() -> None:
    fair = {"rect": True, "multi_scale": 0.5, "split": "test", "freeze": 10, "fraction": 0.5}
    Conditions("my.yaml", 3, 64, 4, extra=fair | {"classes": None, "single_cls": False})


def test_every_argument_of_ultralytics_is_decided_once() -> None:
    decided = [*OWN, *FAIR, *REFUSED]
    assert len(decided) == len({*decided})
    assert DEFAULT_CFG_DICT.keys() <= {*decided}


@pytest.mark.parametrize(
    ("word", "value"),
    [("lr0=1e-3", 0.001), ("cache=None", None), ("cache=ram", "ram"), ("freeze=[0,1]", [0, 1])],
)
def test_settings_are_read_as_yolo_reads_them(word: str, value: object) -> None:
    key = word.partition("=")[0]
    assert read_settings([word], "--set") == {key: value}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lr0", "--set lr0: expected KEY=VALUE"),
        ("lr0=", "--set lr0=: missing 'lr0' value"),
        ("lro=1e-3", "--set lro=1e-3: 'lro' is not a valid YOLO argument. Similar arguments.*lr0"),
        ("cos_lr=maybe", "--set cos_lr=maybe: .* must be a bool"),
        ("lr0=2", "--set lr0=2: .* between 0.0 and 1.0"),
    ],
)
def test_settings_that_yolo_would_refuse(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_settings([word], "--set")
