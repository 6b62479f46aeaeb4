"""The words at the end of a fusion's row: how levels are aligned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.layers import OPTIONS, AFPNConcat, AFPNFusion, AFPNSum, align

Array = NDArray[np.float32]


def strided(x: Array, weight: Array, padding: int) -> Array:
    """A convolution whose stride is its kernel's size, by loops; x (C, H, W)."""
    out, _, k, _ = weight.shape
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    height, width = (side // k for side in x.shape[1:])
    y = np.zeros((out, height, width), np.float32)
    for o in range(out):
        for i in range(height):
            for j in range(width):
                patch = padded[:, k * i : k * i + k, k * j : k * j + k]
                y[o, i, j] = (patch * weight[o]).sum()
    return y


@pytest.mark.parametrize(("steps", "padding"), [(-1, 0), (-2, 1), (-3, 3)])
@pytest.mark.parametrize("padded", [False, True])
def test_padding_of_the_strided_convolutions(steps: int, padding: int, padded: bool) -> None:
    """The authors' two-stage code pads by (k - 1) // 2; the size that comes out is the same."""
    options = ("plain", "padded") if padded else ("plain",)
    conv = align(3, 5, steps, options)
    assert isinstance(conv, nn.Conv2d)
    x = torch.randn(1, 3, 16, 24)
    expected = strided(x[0].numpy(), conv.weight.detach().numpy(), padding * padded)
    np.testing.assert_allclose(conv(x)[0].detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("steps", [-2, -1, 1, 2])
def test_plain_has_neither_batchnorm_nor_activation(steps: int) -> None:
    module = align(4, 6, steps, ("plain",))
    assert {type(m) for m in module.modules()} <= {nn.Conv2d, nn.Upsample, nn.Sequential}
    # What is linear without a constant keeps 0 and scales.
    x = torch.randn(2, 4, 8, 8)
    assert module(torch.zeros_like(x)).abs().max() == 0
    torch.testing.assert_close(module(3 * x), 3 * module(x))


@pytest.mark.parametrize("options", [("plain",), ("padded",), ("padded", "plain")])
@pytest.mark.parametrize("layer", [AFPNFusion, AFPNSum, AFPNConcat])
def test_every_fusion_takes_them(layer: type[AFPNFusion], options: tuple[str, ...]) -> None:
    channels = [4, 8, 16]
    levels = [torch.randn(2, c, 32 // 2**i, 16 // 2**i) for i, c in enumerate(channels)]
    for target, c in enumerate(channels):
        fusion = layer(channels, target, options=options).eval()
        y = fusion(levels)
        assert y.shape == (2, c, 32 // 2**target, 16 // 2**target)
        y.square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in fusion.parameters())


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
