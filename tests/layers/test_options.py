"""The words at the end of a fusion's row: how levels are aligned."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.layers import OPTIONS, AFPNFusion, Carafe, align


@pytest.mark.parametrize(("steps", "padding"), [(-1, 0), (-2, 1), (-3, 3)])
@pytest.mark.parametrize("padded", [False, True])
def test_padding_of_the_strided_convolutions(steps: int, padding: int, padded: bool) -> None:
    """The authors' two-stage code pads by (k - 1) // 2; the size that comes out is the same."""
    options = ("plain", "padded") if padded else ("plain",)
    conv = align(3, 5, steps, options)
    assert isinstance(conv, nn.Conv2d)
    x = torch.randn(1, 3, 16, 24)
    padding *= padded
    expected = nn.functional.conv2d(x, conv.weight, stride=2**-steps, padding=padding)
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("steps", [-2, -1, 1, 2])
def test_plain_has_neither_batchnorm_nor_activation(steps: int) -> None:
    module = align(4, 6, steps, ("plain",))
    assert {type(m) for m in module.modules()} <= {nn.Conv2d, nn.Upsample, nn.Sequential}
    # What is linear without a constant keeps 0 and scales.
    x = torch.randn(2, 4, 8, 8)
    assert module(torch.zeros_like(x)).abs().max() == 0
    torch.testing.assert_close(module(3 * x), 3 * module(x))


def model(*args: object) -> DetectionModel:
    """A model of two levels whose fusion has these arguments."""
    backbone = [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [32, 3, 2]],
    ]
    head = [[[1, 2], 1, "AFPNFusion", [*args]], [[3, 2], 1, "Detect", ["nc"]]]
    return DetectionModel({"nc": 2, "backbone": backbone, "head": head}, verbose=False)


@pytest.mark.parametrize("args", [(0, "plain"), (0, 8, "plain"), (0, 4, "padded", "plain")])
def test_a_row_takes_them_behind_its_numbers(args: tuple[object, ...]) -> None:
    fusion = model(*args).model[3]
    assert isinstance(fusion.align[1][0], nn.Conv2d)
    assert fusion.weights.squeeze[0].conv.out_channels == (4 if 4 in args else 8)


def test_no_option_has_the_name_of_a_variable_of_the_parsers() -> None:
    """Ultralytics' parser would put that variable in its place."""
    from ultralytics.nn import tasks

    assert not {*OPTIONS} & {*tasks.parse_model.__wrapped__.__code__.co_varnames}


@pytest.mark.parametrize("scale", [2, 4])
def test_values_of_carafe(scale: int) -> None:
    torch.manual_seed(0)
    layer = Carafe(3, scale)
    nn.init.normal_(layer.encode.weight)  # as it starts, all weights are nearly the same
    x = torch.randn(2, 3, 4, 5)
    with torch.no_grad():
        kernels = nn.functional.pixel_shuffle(layer.encode(layer.compress(x)), scale).softmax(1)
        expected = torch.zeros(2, 3, 4 * scale, 5 * scale)
        for row in range(4 * scale):
            for column in range(5 * scale):
                for k in range(25):
                    i, j = row // scale + k // 5 - 2, column // scale + k % 5 - 2
                    if 0 <= i < 4 and 0 <= j < 5:
                        weight = kernels[:, k, row, column, None]
                        expected[:, :, row, column] += weight * x[:, :, i, j]
        assert torch.allclose(layer(x), expected, atol=1e-5)


def test_carafe_starts_as_the_mean_of_the_neighbourhood() -> None:
    fusion = AFPNFusion([8, 8], 0, options=("carafe",))
    (layer,) = (module for module in fusion.align.modules() if isinstance(module, Carafe))
    x = torch.randn(1, 8, 9, 9)
    mean = nn.functional.avg_pool2d(x, 5, 1)  # of the 5 x 5 places that have all neighbours
    with torch.no_grad():
        found = layer(x)[:, :, 4:-4, 4:-4]
    assert torch.allclose(found, mean.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=0.05)
