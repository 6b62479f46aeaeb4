"""Every stock model that has a pyramid, with every neck."""

from __future__ import annotations

import re
from functools import cache

import pytest
import yaml

from afpn_yolo.graft import NECKS
from tests.graft.stock import (
    NO_PYRAMID,
    content,
    graftable,
    grafted,
    operations,
    parts,
    stock_names,
)

DETECTORS = [name for name in graftable() if not re.search("-(seg|pose|obb|depth)", name)]
SEVERAL = [name for name in DETECTORS if len(content(name).get("scales", ())) > 1]
"""Those of several scales; the models of other tasks have the same necks."""

CASES = [
    (name, neck)
    for name in graftable()
    for neck in NECKS
    if neck == "lite"
    or (neck == "afpn" and name in DETECTORS)
    or re.fullmatch("yolov?(5|8|9t|11|26)(-p2)?", name)
]


@cache
def stock_parts(name: str, scale: str | None) -> tuple[int, int, int]:
    return parts(content(name), scale)


def assert_only_the_neck_differs(name: str, neck: str, scale: str | None) -> None:
    backbone, ours, head = parts(grafted(name, neck).content, scale)
    stock = stock_parts(name, scale)
    assert (backbone, head) == stock[::2]
    assert ours < stock[1] or neck in ("sum", "concat")


@pytest.mark.parametrize(("name", "neck"), CASES)
def test_what_is_written_is_built_and_only_the_neck_differs(name: str, neck: str) -> None:
    graft = grafted(name, neck)
    assert {**graft.content, **yaml.safe_load(graft.text)} == graft.content
    assert_only_the_neck_differs(name, neck, next(iter(content(name).get("scales", ())), None))


@pytest.mark.parametrize("name", SEVERAL)
def test_at_the_widest_scale(name: str) -> None:
    """Which limits what rows may ask for, where others don't."""
    assert_only_the_neck_differs(name, "lite", [*content(name)["scales"]][-1])


def assert_no_more(name: str, neck: str, scale: str | None) -> None:
    """Than the stock neck, of parameters and operations."""
    assert_only_the_neck_differs(name, neck, scale)
    assert operations(grafted(name, neck).content, scale) <= operations(content(name), scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("neck", ["afpn", "lite"])
def test_at_every_scale(name: str, neck: str) -> None:
    for scale in content(name).get("scales", (None,)):
        assert_no_more(name, neck, scale)


PINNED = {
    ("yolov5", "n", "lite"): 262_773,
    ("yolov5", "n", "none"): 86_912,
    ("yolov8", "l", "afpn"): 4_271_477,
    ("yolov9t", None, "afpn"): 208_101,
    ("yolo26-p6", "n", "lite"): 574_565,
    ("yolov5-p6", "n", "afpn"): 953_653,
    ("yolov8-ghost-p2", "n", "lite"): 279_621,
}


@pytest.mark.parametrize(("name", "scale", "neck"), PINNED)
def test_parameters_of_the_neck(name: str, scale: str | None, neck: str) -> None:
    assert parts(grafted(name, neck).content, scale)[1] == PINNED[name, scale, neck]


NARROW = {
    ("yolov5-p6", "afpn"): ["n", "x"],
    ("yolov8-ghost-p2", "lite"): ["n", "x"],
    ("yolov8-ghost-p6", "afpn"): ["n", "l"],
    ("yolo26-p6", "afpn"): ["m"],  # not narrower, and close
}
"""Where the usual widths within would take more operations than the stock neck, and scales."""


@pytest.mark.parametrize(("name", "neck"), NARROW)
def test_no_more_operations_than_the_stock_neck(name: str, neck: str) -> None:
    for scale in NARROW[name, neck]:
        assert_no_more(name, neck, scale)
    assert grafted(name, "sum").content["head"][0][3] == grafted(name, "afpn").content["head"][0][3]


@pytest.mark.parametrize("name", [n for n in stock_names() if n not in graftable()])
def test_every_other_stock_model_grafts_or_says_why_not(name: str) -> None:
    """YOLOv3 does; what has no pyramid, or a head that needs its own neck, doesn't."""
    if not NO_PYRAMID.search(name) and not name.startswith("rtdetr"):
        assert_only_the_neck_differs(name, "lite", None)
        return
    with pytest.raises(ValueError, match=rf"{name}\.yaml"):
        grafted(name, "afpn")
