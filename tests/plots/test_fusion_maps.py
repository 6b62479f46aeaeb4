"""Weight maps of fusions: values, level names, geometry; and their picture, also by command."""

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
from numpy.typing import NDArray
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import ASSETS

from afpn_yolo.edge.letterbox import Fit
from afpn_yolo.graft import graft
from afpn_yolo.plots.fusion_maps import FusionMap, draw, fusion_maps, look
from tests import neck
from tests.processes import afpn

BUS = ASSETS / "bus.jpg"
ROWS = [16, 17, 20, 21, 22]  # of yolov5n-afpn.yaml


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def network(name: str | dict[str, Any] = "yolov5n-afpn.yaml") -> DetectionModel:
    """A model whose weights differ from place to place."""
    torch.manual_seed(0)
    return neck.randomise(DetectionModel(name, verbose=False)).eval()


def four_levels() -> dict[str, Any]:
    """P2 to P5: all four fused into P2 and into P5, and the two coarsest into P4."""
    rows: list[list[Any]] = [[-1, 1, "Conv", [8, 3, 2]]]
    rows += [[-1, 1, "Conv", [8 * 2**i, 3, 2]] for i in range(1, 5)]  # 1-4: P2 to P5
    rows += [[[1, 2, 3, 4], 1, "AFPNFusion", [0]], [[1, 2, 3, 4], 1, "AFPNFusion", [3]]]
    rows += [[[3, 4], 1, "AFPNFusion", [0]], [[5, 7, 6], 1, "Detect", ["nc"]]]
    return {"nc": 2, "backbone": rows[:5], "head": rows[5:]}


def test_four_levels() -> None:
    maps = fusion_maps(network(four_levels()), noise(64, 128), imgsz=128)
    assert [(item.row, item.strides, item.target) for item in maps] == [
        (5, (4, 8, 16, 32), 0),
        (6, (4, 8, 16, 32), 3),
        (7, (16, 32), 0),
    ]
    assert maps[1].levels == ("P2", "P3", "P4", "P5")
    assert [item.weights.shape for item in maps] == [(4, 16, 32), (4, 2, 4), (2, 4, 8)]
    for item in maps:
        assert item.weights.dtype == np.float32
        assert item.weights.std() > 0.01
        assert np.abs(item.weights.sum(0) - 1).max() < 1e-6


def test_a_model_of_grey_images_sees_what_another_sees_of_a_grey_one() -> None:
    colour, grey = network(), DetectionModel("yolov5n-afpn.yaml", ch=1, verbose=False)
    tensors = colour.state_dict()
    tensors["model.0.conv.weight"] = tensors["model.0.conv.weight"].sum(1, keepdim=True)
    grey.load_state_dict(tensors)
    pixels = noise(90, 120)
    grey_pixels: Any = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    plain = np.repeat(grey_pixels[..., None], 3, axis=2)
    expected = fusion_maps(colour, plain, imgsz=96)
    for item, other in zip(fusion_maps(grey, pixels, imgsz=96), expected, strict=True):
        assert item.weights == pytest.approx(other.weights, abs=1e-4)
        assert item.weights.std() > 0.01


def test_a_neck_that_reads_a_coarser_level_than_the_head() -> None:
    """Stride 32, and the head's largest is 16: an image's sides are multiples of both."""
    content = graft("yolov8n-p2.yaml", "lite").content
    *rows, (sources, number, module, args) = content["head"]
    model = DetectionModel(
        {**content, "head": [*rows, [sources[:3], number, module, args]]}, verbose=False
    )
    assert max(model.stride) == 16
    for item in fusion_maps(model, noise(70, 160), imgsz=160):
        assert item.weights.shape[2] * item.strides[item.target] == 160


def see_brightness(model: nn.Module) -> None:
    """Make the first source's weight the brightness of the image at each position."""
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))

    def weights(module: nn.Module, args: object, output: Tensor) -> Tensor:
        stride = seen[-1].shape[2] // output.shape[2]
        bright = nn.functional.avg_pool2d(seen[-1].mean(1, keepdim=True), stride)
        return torch.cat([bright, (1 - bright).expand(-1, output.shape[1] - 1, -1, -1)], 1)

    for row in ROWS:
        model.model[row].weights.register_forward_hook(weights)  # type: ignore[index, union-attr]


@pytest.mark.parametrize("shape", [(120, 400), (400, 120), (333, 500), (90, 64)])
def test_maps_lie_over_the_right_part_of_the_image(shape: tuple[int, int]) -> None:
    """A bright square is where the maps say, and the grey padding counts for no mean."""
    model = network()
    see_brightness(model)
    height, width = shape
    image = np.zeros((height, width, 3), np.uint8)
    top, bottom, left, right = height // 4, height // 2, width // 2, width - width // 8
    image[top:bottom, left:right] = 255
    bright = (bottom - top) * (right - left) / (height * width)
    for item in fusion_maps(model, image, imgsz=320):
        x0, x1, y1, y0 = item.extent
        _, rows, columns = item.weights.shape
        step = (x1 - x0) / columns
        x = x0 + (np.arange(columns) + 0.5) * step
        y = y0 + (np.arange(rows) + 0.5) * (y1 - y0) / rows
        inside = np.outer(
            (y > top + step) & (y < bottom - step), (x > left + step) & (x < right - step)
        )
        near = np.outer(
            (y > top - step) & (y < bottom + step), (x > left - step) & (x < right + step)
        )
        over = np.outer((y > step) & (y < height - step), (x > step) & (x < width - step))
        assert item.weights[0][inside].min(initial=1) > 0.99
        assert item.weights[0][over & ~near].max(initial=0) < 0.01
        if item.strides[item.target] == 8:
            assert inside.any()
            assert item.means()[0] == pytest.approx(bright, abs=0.03)


def test_means_count_what_lies_over_the_image() -> None:
    # Two cells of 4 x 4 pixels; the image covers three columns of the first, two of the second.
    fit = Fit((4, 5), (4, 5), (0, 0, 1, 2))
    left = np.array([[[1.0, 0.0]]], np.float32)
    item = FusionMap(0, (4, 8), 0, np.concatenate([left, 1 - left]), fit)
    assert item.means() == pytest.approx([3 / 5, 2 / 5])


def test_the_model_is_left_as_it_was() -> None:
    model = network()
    model.model[3].train()
    modes = [m.training for m in model.modules()]
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(x)[0]
    tensors = [tensor.clone() for tensor in model.state_dict().values()]
    fusion_maps(model, BUS, imgsz=64)
    assert [m.training for m in model.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(map(torch.equal, model.state_dict().values(), tensors))
    with torch.no_grad():
        assert torch.equal(model(x)[0], expected)


def test_a_path_a_yolo_and_its_network_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"model": network(), "train_args": {"imgsz": 96}}, path)
    yolo = YOLO(path)
    expected = [item.weights for item in fusion_maps(path, BUS, imgsz=96)]
    pixels: Any = cv2.imread(str(BUS))
    for got in (fusion_maps(yolo, pixels, 96), fusion_maps(yolo.model, str(BUS))):
        assert all(map(np.array_equal, [item.weights for item in got], expected))


def test_boxes_are_those_of_predict(tmp_path: Path) -> None:
    model = network()
    for branch in model.model[-1].cv3:
        nn.init.constant_(branch[-1].bias, -3)  # some 200 boxes, no two scores alike
        branch[-1].weight.data *= 0.03
    torch.save({"model": model}, tmp_path / "a.pt")
    boxes = look(model, BUS, imgsz=160).boxes
    found = YOLO(tmp_path / "a.pt").predict(BUS, imgsz=160, device="cpu", verbose=False)[0].boxes
    assert len(found) > 20
    away = np.abs(found.data.numpy()[:, None, :4] - boxes[None, :, :4]).max(-1)
    # `predict` fuses the model first: a box at the edge of being taken may come or go.
    assert (away.min(1) < 0.5).mean() > 0.9
    assert len(boxes) == pytest.approx(len(found), rel=0.1)


def test_models_and_images_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no AFPNFusion row"):
        fusion_maps(DetectionModel("yolov5n-afpn-sum.yaml", verbose=False), BUS)
    with pytest.raises(ValueError, match="takes images of 4 channels; 3 or 1 are read"):
        fusion_maps(DetectionModel("yolov5n-afpn.yaml", ch=4, verbose=False), BUS)
    model = network()
    with pytest.raises(FileNotFoundError, match=r"missing\.jpg"):
        fusion_maps(model, tmp_path / "missing.jpg")
    (tmp_path / "text.jpg").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"text\.jpg"):
        fusion_maps(model, tmp_path / "text.jpg")
    with pytest.raises(ValueError, match="uint8"):
        fusion_maps(model, np.zeros((9, 9), np.uint8))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt"
    torch.save({"model": network(), "train_args": {"imgsz": 96}}, path)
    return path


def panels(figure: Figure) -> list[Axes]:
    """The axes with a heat map over an image."""
    return [axes for axes in figure.axes if len(axes.images) == 2]


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


def test_a_panel_for_each_source_of_each_fusion_and_one_scale(checkpoint: Path) -> None:
    view = look(checkpoint, BUS)
    figure = draw(view, "bus")
    expected = [
        f"{level}  {mean:.2f}"
        for item in view.maps
        for level, mean in zip(item.levels, item.means(), strict=True)
    ]
    assert len(panels(figure)) == len(expected) == 2 + 2 + 3 + 3 + 3
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == expected
    titles = {axes.get_title(loc="left") for axes in figure.axes}
    assert titles > {"row 16: P3 ← P3, P4", "row 22: P5 ← P3, P4, P5"}
    weights = np.concatenate([item.weights.ravel() for item in view.maps])
    ((low, high),) = {axes.images[1].get_clim() for axes in panels(figure)}
    assert low <= weights.min() < low + 0.1
    assert high - 0.1 <= weights.max() <= high
    assert {axes.images[1].get_clim() for axes in panels(draw(view, "bus", (0, 1)))} == {(0, 1)}


def test_the_command_writes_over_no_file_and_past_bad_images(
    checkpoint: Path, tmp_path: Path
) -> None:
    """Names that are taken get a number; what is wrong is said at the end."""
    (tmp_path / "two").mkdir()
    for name in ("a.png", "two/a.jpg"):
        cv2.imwrite(str(tmp_path / name), noise(60, 90))
    jpeg = cv2.imencode(".jpg", noise(60, 90))[1].tobytes()
    (tmp_path / "b.jpg").write_bytes(jpeg[:-200])  # cut short
    before = (tmp_path / "a.png").read_bytes()
    words = ("fusion", checkpoint, "missing.jpg", "b.jpg", "a.png", "two/a.jpg")
    result = afpn(*words, "--out", ".", "--json", "sub/a.json", cwd=tmp_path, fails=True)
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert sorted("missing.jpg" in line for line in errors) == [False, True]
    assert (tmp_path / "a.png").read_bytes() == before
    assert result.stdout.split() == ["a-2.png", "a-3.png"]
    width, height = draw(look(checkpoint, noise(60, 90)), "a").get_size_inches() * 110
    for name in result.stdout.split():
        picture = np.array(cv2.imread(str(tmp_path / name)))
        assert picture.shape[:2] == pytest.approx((height, width), abs=1)
        assert picture.std() > 20
    content = json.loads((tmp_path / "sub" / "a.json").read_text())
    assert [entry["image"] for entry in content["images"]] == ["a.png", "two/a.jpg"]
    for entry in content["images"]:
        assert [fusion["row"] for fusion in entry["fusions"]] == ROWS
        for fusion in entry["fusions"]:
            assert sum(fusion["weights"].values()) == pytest.approx(1, abs=1e-3)
            assert fusion["target"] in fusion["weights"]


@pytest.mark.parametrize("options", ["--imgsz 0", "--range 0.5 0.5", "--range 0 2"])
def test_options_that_are_refused(options: str, tmp_path: Path) -> None:
    result = afpn("fusion", "a.pt", "a.jpg", *options.split(), cwd=tmp_path, fails=True)
    assert result.returncode == 2
    assert options.split()[0] in result.stderr
