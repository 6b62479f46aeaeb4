"""The picture of a neck shows every arrow, also one that passes over other boxes."""

from __future__ import annotations

from pathlib import Path as File
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from ultralytics.utils import YAML

from afpn_yolo.cli.__main__ import main
from afpn_yolo.plots import neck_figure

STOCK, OURS = "from coarser: upsampled", "from coarser: 1x1, upsampled"
FINER = "from finer: strided"


@pytest.mark.parametrize(
    ("model", "over", "arrows"),
    [
        ("yolov8n", 4, ["same level", STOCK, FINER]),
        ("yolov9t", 4, ["same level", STOCK, FINER]),
        ("yolov5n-afpn", 0, ["same level", OURS, FINER]),
        ("yolov5n-afpn-lite", 3, ["same level", OURS, FINER]),  # the backbone's features
        ("yolov5n-none", 0, ["same level"]),
    ],
)
def test_no_arrow_touches_another_box_or_the_title_and_names_fit(
    model: str, over: int, arrows: list[str]
) -> None:
    rows = neck_figure.collect(f"{model}.yaml")
    figure = neck_figure.draw(rows, model)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    places = [box.get_window_extent() for box in boxes]
    drawn = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert len(drawn) == sum(len(row.sources) for row in rows)
    for arrow in drawn:
        path = arrow.get_path()
        lines = map(Path, path.to_polygons(arrow.get_transform(), closed_only=False))
        shrunk = [place.padded(-4) for place in places]
        assert not any(line.intersects_bbox(place, False) for line in lines for place in shrunk)
        assert arrow.get_window_extent().y1 < axes.title.get_window_extent().y0 - 10
    codes = [np.asarray(arrow.get_path().codes) for arrow in drawn]
    assert sum(Path.CURVE3 in code for code in codes) == over
    for text in (text for text in axes.texts if text.get_zorder() == 4):
        extent = text.get_window_extent()
        assert any(place.x0 < extent.x0 and extent.x1 < place.x1 for place in places), text
    legend: Any = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == arrows


INDEXED = [[0, 1, "Index", [c, i]] for c, i in ((128, 6), (256, 7), (512, 8))]


@pytest.mark.parametrize("inside", [True, False], ids=["backbone", "neck"])
def test_a_row_that_gives_several_levels_has_no_place_but_those_have(
    inside: bool, tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", pytest.fail)
    backbone = [[-1, 1, "TorchVision", [512, "resnet18", "DEFAULT", True, 2, True]]]
    neck = [[1, 1, "Conv", [32]], [2, 1, "Conv", [64]]]
    backbone, neck = (backbone + INDEXED, neck) if inside else (backbone, INDEXED + neck)
    head = [*neck, [[4, 5, 3], 1, "Detect", ["nc"]]]
    path = tmp_path / "tv.yaml"
    YAML.save(path, {"nc": 3, "backbone": backbone, "head": head})
    boxes = neck_figure.collect(str(path))
    assert sorted((b.row, b.sources, b.stride) for b in boxes if b.kind == "Conv") == [
        (4, (1,), 8),
        (5, (2,), 16),
    ]
    assert sorted((b.row, b.stride) for b in boxes)[:3] == [(1, 8), (2, 16), (3, 32)]
    assert min(b.column for b in boxes) == 0
    assert main(["draw-neck", str(path), "-o", str(tmp_path / "tv.png")]) == 0


def test_where_the_picture_goes(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without suffix is that model."""
    monkeypatch.chdir(tmp_path)
    for words in ("lite", "lite.yaml -o out/neck.png"):
        assert main(["draw-neck", *f"yolov5n-afpn-{words}".split()]) == 0
    one, other = sorted(path for path in tmp_path.rglob("*.*"))
    assert [p.relative_to(tmp_path) for p in (one, other)] == [
        File("out/neck.png"),
        File("yolov5n-afpn-lite.png"),
    ]
    assert one.read_bytes() == other.read_bytes()


def test_a_picture_is_never_written_onto_a_model(
    tmp_path: File, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    assert main(["draw-neck", "yolov5n-none", "-o", str(path)]) == 2
    assert path.read_text() == "mine"
    assert "error: " in capsys.readouterr().err


def test_the_head_is_called_by_its_name() -> None:
    heads = [box for box in neck_figure.collect("yolov8n-seg.yaml") if box.kind == "Detect"]
    assert [box.text for box in heads] == ["Segment"] * 3
