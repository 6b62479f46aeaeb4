"""The picture of a model's fusions, and the script that draws it, as a process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import ASSETS

from afpn_yolo.cli.__main__ import main
from afpn_yolo.plots.fusion_maps import draw, look
from tests import neck
from tests.processes import afpn

BUS = ASSETS / "bus.jpg"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    model = neck.randomise(DetectionModel("yolov5n-afpn.yaml", verbose=False))
    torch.save({"model": model, "train_args": {"imgsz": 96}}, path)
    return path


def write(path: Path, height: int = 60, width: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = len(str(path))
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (height, width, 3)))
    return path


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def panels(figure: Figure) -> list[Axes]:
    """The axes with a heat map over an image."""
    return [axes for axes in figure.axes if len(axes.images) == 2]


def test_a_panel_for_each_source_of_each_fusion(checkpoint: Path) -> None:
    view = look(checkpoint, BUS)
    figure = draw(view, "bus")
    expected = [
        f"{level}  {mean:.2f}"
        for item in view.maps
        for level, mean in zip(item.levels, item.means(), strict=True)
    ]
    assert len(expected) == 2 + 2 + 3 + 3 + 3
    assert labels(figure) == expected
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert "row 16: P3 ← P3, P4" in titles
    assert "row 22: P5 ← P3, P4, P5" in titles
    assert len(panels(figure)) == len(expected)


def test_panels_are_cut_to_the_image(checkpoint: Path) -> None:
    view = look(checkpoint, np.zeros((100, 400, 3), np.uint8), imgsz=320)
    for axes in panels(draw(view, "wide")):
        image, heat = axes.images
        assert axes.get_xlim() == (0, 400)
        assert tuple(image.get_extent()) == (0, 400, 100, 0)
        assert heat.get_extent() == pytest.approx((0, 400, 110, -10), abs=1e-3)
        edges = axes.transData.transform([(0, 0), (400, 100)])
        clip: Any = heat.get_clip_box()
        assert np.sort(clip.get_points(), axis=0) == pytest.approx(np.sort(edges, axis=0))


def test_all_maps_share_one_colour_scale(checkpoint: Path) -> None:
    view = look(checkpoint, BUS)
    low = min(item.weights.min() for item in view.maps)
    high = max(item.weights.max() for item in view.maps)
    (span,) = {axes.images[1].get_clim() for axes in panels(draw(view, "bus"))}
    assert span[0] <= low < span[0] + 0.1
    assert span[1] - 0.1 <= high <= span[1]
    assert {axes.images[1].get_clim() for axes in panels(draw(view, "bus", (0, 1)))} == {(0, 1)}


@pytest.mark.parametrize("shape", [(20, 2000), (2000, 20), (8, 8)])
def test_odd_shapes_stay_on_the_page(
    checkpoint: Path, shape: tuple[int, int], tmp_path: Path
) -> None:
    figure = draw(look(checkpoint, np.full((*shape, 3), 200, np.uint8)), "odd")
    figure.savefig(tmp_path / "odd.png")
    assert max(figure.get_size_inches()) < 30
    page = figure.bbox
    for axes in figure.axes:
        box = axes.get_window_extent()
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1


def test_the_script_in_an_empty_folder(checkpoint: Path, tmp_path: Path) -> None:
    one, two = write(tmp_path / "one" / "a.png"), write(tmp_path / "two" / "a.jpg", 90, 60)
    cwd = tmp_path / "empty"
    cwd.mkdir()
    result = afpn("fusion", checkpoint, one, two, "--json", "sub/a.json", cwd=cwd)
    assert result.stdout.split() == ["fusion/a.png", "fusion/a-2.png"]
    pictures: list[Any] = [cv2.imread(str(cwd / name)) for name in result.stdout.split()]
    for picture, image in zip(pictures, (one, two), strict=True):
        figure = draw(look(checkpoint, image), image.name)
        width, height = figure.get_size_inches() * figure.dpi
        assert picture.shape[:2] == pytest.approx((height, width), abs=1)
        assert picture.std() > 20
    content = json.loads((cwd / "sub" / "a.json").read_text())
    assert [entry["image"] for entry in content["images"]] == [str(one), str(two)]
    for entry in content["images"]:
        assert [fusion["row"] for fusion in entry["fusions"]] == [16, 17, 20, 21, 22]
        for fusion in entry["fusions"]:
            assert sum(fusion["weights"].values()) == pytest.approx(1, abs=1e-3)
            assert fusion["target"] in fusion["weights"]


def test_a_bad_image_does_not_stop_the_others(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, out = write(tmp_path / "good.png"), tmp_path / "bad.jpg", tmp_path / "out"
    bad.write_text("no image")
    missing = tmp_path / "missing.jpg"
    assert (
        main(["fusion", str(checkpoint), *map(str, (bad, missing, good)), "--out", str(out)]) == 1
    )
    printed = capsys.readouterr()
    assert [path.name for path in out.iterdir()] == ["good.png"]
    assert printed.out.split() == [str(out / "good.png")]
    errors = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert all(any(str(path) in line for line in errors) for path in (bad, missing))


@pytest.mark.parametrize("options", ["--imgsz 0", "--range 0.5 0.5", "--range 0 2"])
def test_options_that_are_refused(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fusion", "a.pt", "a.jpg", *options.split()]) == 2
    assert options.split()[0] in capsys.readouterr().err


def test_no_file_is_overwritten(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.jpg"):
        cv2.imwrite(name, np.zeros((64, 64, 3), np.uint8))
    Path("b.png").write_text("a file of the user's")
    before = Path("a.png").read_bytes()
    for _ in range(2):
        assert (
            main(["fusion", str(checkpoint), "a.png", "b.jpg", "--out", ".", "--imgsz", "64"]) == 0
        )
    assert Path("a.png").read_bytes() == before
    assert Path("b.png").read_text() == "a file of the user's"
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {"a.png", "b.png", "a-2.png", "b-2.png", "a-3.png", "b-3.png"}
