"""The picture of a neck shows every arrow, also one that passes over other boxes."""

from __future__ import annotations

from pathlib import Path as File
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.text import Annotation
from ultralytics.utils import YAML

from afpn_yolo.cli.__main__ import main
from afpn_yolo.plots import neck_figure


@pytest.mark.parametrize(("model", "expected"), [("afpn", 0), ("afpn-lite", 3)])
def test_the_backbones_features_pass_over_the_lite_neck(
    model: str, expected: int, tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    arcs: list[Any] = []
    monkeypatch.setattr(neck_figure, "_draw_arc", lambda axes, start, end: arcs.append(start))
    neck_figure.draw(neck_figure.collect(f"yolov5n-{model}.yaml"), model, tmp_path / "neck.png")
    assert len(set(arcs)) == len(arcs) == expected


@pytest.fixture
def picture(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    drawn: list[Figure] = []

    class Kept(Figure):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            drawn.append(self)

    monkeypatch.setattr(neck_figure, "Figure", Kept)
    return drawn


@pytest.mark.parametrize("model", ["yolov8n", "yolov5n-afpn-lite", "yolov9t"])
def test_no_arc_touches_another_box_or_the_title_and_names_fit(
    model: str, picture: list[Figure], tmp_path: File
) -> None:
    neck_figure.draw(neck_figure.collect(f"{model}.yaml"), model, tmp_path / "neck.png")
    picture[0].draw_without_rendering()  # savefig had other pixels
    (axes,) = picture[0].axes
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    places = [box.get_window_extent() for box in boxes]
    arcs = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    notes = (text.arrow_patch for text in axes.texts if isinstance(text, Annotation))
    arcs += [arrow for arrow in notes if arrow is not None]
    assert len(arcs) > len(boxes) - 4
    for arc in arcs:
        lines = map(Path, arc.get_path().to_polygons(arc.get_transform(), closed_only=False))
        shrunk = [place.padded(-4) for place in places]
        assert not any(line.intersects_bbox(place, False) for line in lines for place in shrunk)
        assert arc.get_window_extent().y1 < axes.title.get_window_extent().y0 - 10
    for text in (text for text in axes.texts if text.get_zorder() == 4):
        extent = text.get_window_extent()
        assert any(place.x0 < extent.x0 and extent.x1 < place.x1 for place in places), text


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("yolov8n", ["same level", "from coarser: upsampled", "from finer: strided"]),
        ("yolov5n-afpn", ["same level", "from coarser: 1x1, upsampled", "from finer: strided"]),
        ("yolov5n-none", ["same level"]),
    ],
)
def test_the_legend_tells_of_the_arrows_that_are_drawn(
    model: str, expected: list[str], picture: list[Figure], tmp_path: File
) -> None:
    neck_figure.draw(neck_figure.collect(f"{model}.yaml"), model, tmp_path / "neck.png")
    legend = picture[0].axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == expected


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


@pytest.mark.parametrize(
    ("words", "picture"),
    [
        ("yolov5n-none.yaml", "yolov5n-none.png"),
        ("yolov5n-none", "yolov5n-none.png"),
        ("yolov5n-none -o out/neck.svg", "out/neck.svg"),
    ],
)
def test_where_the_picture_goes(
    words: str, picture: str, tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw-neck", *words.split()]) == 0
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")] == [File(picture)]


def test_a_name_without_suffix_is_that_model(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("yolov5n-afpn-lite", "yolov5n-afpn-lite.yaml"):
        assert main(["draw-neck", name, "-o", f"{name}.png"]) == 0
    one, other = sorted(tmp_path.iterdir())
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
