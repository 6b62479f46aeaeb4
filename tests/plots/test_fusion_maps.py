"""The weight maps that `fusion_maps` gives: values, level names, geometry, and what it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import ASSETS

from afpn_yolo.edge.letterbox import Fit
from afpn_yolo.graft import graft
from afpn_yolo.plots.fusion_maps import FusionMap, fusion_maps, look
from tests import neck

BUS = ASSETS / "bus.jpg"
GOLDEN = {16: "top1", 17: "mid1", 20: "top2", 21: "mid2", 22: "bot2"}


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


def test_maps_are_the_authors() -> None:
    arrays = neck.golden("afpn3-n")
    model = DetectionModel("yolov5n-afpn.yaml", verbose=False).eval()
    neck.load(model.model, neck.authors_tensors(arrays), 1e-3)
    for row, feature in zip((4, 6, 9), neck.inputs(arrays), strict=True):
        # As if the backbone had seen what the golden numbers were made from.
        model.model[row].register_forward_hook(lambda m, a, o, feature=feature: feature)
    height, width = (8 * int(side) for side in arrays["hw"])
    maps = fusion_maps(model, noise(height, width), imgsz=width)
    assert [item.row for item in maps] == list(GOLDEN)
    for item in maps:
        expected = arrays[f"asff_{GOLDEN[item.row]}.weights"][0]
        assert neck.difference(torch.from_numpy(item.weights), expected) <= 1e-5
        assert np.abs(item.weights.sum(0) - 1).max() < 1e-6


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


def test_a_model_of_other_images_is_refused() -> None:
    model = DetectionModel("yolov5n-afpn.yaml", ch=4, verbose=False)
    with pytest.raises(ValueError, match=r"takes images of 4 channels; 3 or 1 are read"):
        fusion_maps(model, BUS)


def test_extent_reaches_over_the_padding() -> None:
    """100 x 400 into 320: 0.8 of its size, 80 rows in 96, so 8 of padding above and below."""
    for (height, width), extent in (
        ((100, 400), (0, 400, 110, -10)),
        ((400, 100), (-10, 110, 400, 0)),
    ):
        for item in fusion_maps(network(), noise(height, width), imgsz=320):
            assert item.extent == pytest.approx(extent, abs=1e-3)


def see_brightness(model: nn.Module) -> None:
    """Make the first source's weight the brightness of the image at each position."""
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))

    def weights(module: nn.Module, args: object, output: Tensor) -> Tensor:
        stride = seen[-1].shape[2] // output.shape[2]
        bright = nn.functional.avg_pool2d(seen[-1].mean(1, keepdim=True), stride)
        return torch.cat([bright, (1 - bright).expand(-1, output.shape[1] - 1, -1, -1)], 1)

    for row in GOLDEN:
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


@pytest.mark.parametrize("name", ["yolov5n-afpn-sum.yaml", "yolov5n-afpn-concat.yaml"])
def test_a_model_without_weights(name: str) -> None:
    with pytest.raises(ValueError, match="no AFPNFusion row"):
        fusion_maps(DetectionModel(name, verbose=False), BUS)


def test_images_that_are_refused(tmp_path: Path) -> None:
    model = network()
    with pytest.raises(FileNotFoundError, match=r"missing\.jpg"):
        fusion_maps(model, tmp_path / "missing.jpg")
    (tmp_path / "text.jpg").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"text\.jpg"):
        fusion_maps(model, tmp_path / "text.jpg")
    with pytest.raises(ValueError, match="uint8"):
        fusion_maps(model, np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match="imgsz"):
        fusion_maps(model, BUS, imgsz=0)
