"""Each layer of ours: values against formulas, bad arguments, shapes, gradients, start."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv

from afpn_yolo.layers import (
    AFPNConcat,
    AFPNConv,
    AFPNFusion,
    AFPNResidual,
    AFPNSum,
    LevelFusion,
    ResidualUnit,
)
from afpn_yolo.layers.init import init_copy
from tests.neck import randomise

FUSIONS = (AFPNFusion, AFPNSum, AFPNConcat)


def pyramid(channels: list[int], side: int = 16, batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, c, side >> i, 2 * side >> i) for i, c in enumerate(channels)]


def naive_unit(x: Tensor, module: Any, act: bool = True) -> Tensor:
    """Convolution, BatchNorm by its formula, SiLU by its formula."""
    conv, bn = module.conv, module.bn
    x = nn.functional.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding)
    columns = [t[:, None, None] for t in (bn.running_mean, bn.running_var, bn.weight, bn.bias)]
    x = (x - columns[0]) / (columns[1] + bn.eps).sqrt() * columns[2] + columns[3]
    return x / (1 + (-x).exp()) if act else x


def naive_aligned(fusion: LevelFusion, levels: list[Tensor]) -> list[Tensor]:
    result = []
    for i, x in enumerate(levels):
        module: Any = fusion.align[i]
        if i > fusion.target:
            x = naive_unit(x, module[0])
            x = nn.functional.interpolate(x, scale_factor=2 ** (i - fusion.target), mode="bilinear")
        elif i < fusion.target:
            assert module.conv.kernel_size == module.conv.stride == (2 ** (fusion.target - i),) * 2
            x = naive_unit(x, module)
        result.append(x)
    return result


def naive_asff(fusion: AFPNFusion, aligned: list[Tensor]) -> Tensor:
    """Equation 1, position by position."""
    squeezed = [naive_unit(x, m) for x, m in zip(aligned, fusion.weights.squeeze, strict=True)]
    scores = fusion.weights.score(torch.cat(squeezed, 1))
    out = torch.zeros_like(aligned[0])
    batch, _, h, w = out.shape
    for b, i, j in itertools.product(range(batch), range(h), range(w)):
        exponents = [math.exp(float(s)) for s in scores[b, :, i, j]]
        for x, e in zip(aligned, exponents, strict=True):
            out[b, :, i, j] += e / sum(exponents) * x[b, :, i, j]
    return out


NAIVE: dict[Any, Any] = {
    AFPNFusion: naive_asff,
    AFPNSum: lambda fusion, aligned: sum(aligned[1:], aligned[0]),
    AFPNConcat: lambda fusion, aligned: torch.cat(aligned, 1),
}


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("channels", [[4, 8], [4, 8, 16], [2, 4, 8, 16]])
def test_fusion_values_shapes_and_gradients(fusion: type[LevelFusion], channels: list[int]) -> None:
    torch.manual_seed(0)
    for target in range(len(channels)):
        layer = randomise(fusion(channels, target)).eval()
        levels = pyramid(channels)
        with torch.no_grad():
            combined = NAIVE[fusion](layer, naive_aligned(layer, levels))
            expected = naive_unit(combined, layer.conv)
        levels = [x.requires_grad_() for x in levels]
        got = layer(levels)
        assert got.shape == levels[target].shape
        assert torch.allclose(got, expected, atol=1e-5)
        got.square().sum().backward()
        assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in levels)
        assert all(p.grad is not None for p in layer.parameters())


def test_residual_values() -> None:
    torch.manual_seed(0)
    stack = randomise(AFPNResidual(4, 2)).eval()
    x = torch.randn(2, 4, 6, 5)
    expected = x
    with torch.no_grad():
        for unit in stack:
            assert isinstance(unit, ResidualUnit)
            y = expected + naive_unit(naive_unit(expected, unit.cv1), unit.cv2, act=False)
            expected = y / (1 + (-y).exp())
        assert torch.allclose(stack(x), expected, atol=1e-5)


SOURCES: list[tuple[Any, Any]] = [
    *(([16], 0), ([], 0)),
    *(([16, 32], 2), ([16, 32], -1), ([16, 32], True), ([16, 32], "0")),
    *(([16, 0], 0), ([16, -8], 0), ([16, 8.0], 0), ("16", 0), (16, 0)),
]


@pytest.mark.parametrize(
    ("layer", "args", "word"),
    [
        *((fusion, args, fusion.__name__) for fusion in FUSIONS for args in SOURCES),
        *((partial(fusion, options=("wide",)), ([16, 32], 0), "wide") for fusion in FUSIONS),
        *((AFPNResidual, args, "AFPNResidual") for args in ((0, 3), (16, 0), (16, -1), (16, 1.5))),
        (AFPNConv, (16, 0), "AFPNConv"),
        (AFPNFusion, ([16, 32], 0, 0), "hidden"),
    ],
)
def test_refused_arguments(layer: Any, args: tuple[Any, ...], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        layer(*args)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(
    "shapes",
    [
        *([(4, 16, 16), (8, 16, 16)], [(4, 13, 13), (8, 7, 7)], [(4, 16, 16), (8, 8, 9)]),
        *([(8, 8, 8), (4, 16, 16)], [(4, 16, 16)]),
    ],
)
def test_forward_refuses(fusion: type[LevelFusion], shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=fusion.__name__):
        fusion([4, 8], 0)([torch.zeros(1, *shape) for shape in shapes])


def test_start_of_what_is_not_copied_is_the_authors() -> None:
    torch.manual_seed(0)
    layer = AFPNFusion([64, 128, 256], 1)
    for m in [*layer.weights.modules(), *AFPNResidual(64).modules()]:
        if isinstance(m, nn.Conv2d):
            fan = (m.in_channels + m.out_channels) * m.kernel_size[0] * m.kernel_size[1]
            assert m.weight.std().item() == pytest.approx(0.02 * math.sqrt(2 / fan), rel=0.2)
            assert m.bias is None or not m.bias.any()
    scales = torch.cat([m.weight for m in layer.modules() if isinstance(m, nn.BatchNorm2d)])
    assert scales.mean().item() == pytest.approx(1, abs=0.01)
    assert scales.std().item() == pytest.approx(0.02, rel=0.2)


def test_a_residual_unit_starts_silent() -> None:
    unit = AFPNResidual(8)
    x = torch.randn(1, 8, 4, 4)
    silent = x
    for _ in range(3):
        silent = nn.functional.silu(silent)
    assert torch.equal(unit(x), silent)


def correlation(a: Tensor, b: Tensor) -> float:
    pair = torch.stack([a.detach().flatten(), b.detach().flatten()])
    return float(torch.corrcoef(pair)[0, 1])


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("target", range(3))
def test_a_fusion_starts_as_the_sum_of_its_levels(fusion: type[LevelFusion], target: int) -> None:
    """Convolutions alone, without BatchNorm and SiLU: what comes out is what went in."""
    torch.manual_seed(0)
    layer = fusion([16] * 3, target)
    for m in layer.modules():
        if isinstance(m, Conv):
            m.bn, m.act = nn.Identity(), nn.Identity()
    scene = nn.functional.interpolate(torch.randn(2, 16, 4, 4), (32, 32), mode="bilinear")
    levels = [nn.functional.avg_pool2d(scene, 2**i) for i in range(3)]
    assert correlation(layer(levels), levels[target]) > 0.9


@pytest.mark.parametrize("shape", [(4, 4, 3), (2, 4, 1), (4, 2, 1), (4, 4, 2), (2, 6, 4)])
def test_copies_by_hand(shape: tuple[int, int, int]) -> None:
    c_out, c_in, kernel = shape
    even = kernel % 2 == 0
    stride, padding = (kernel, 0) if even else (1, kernel // 2)
    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
    torch.manual_seed(0)
    init_copy(conv)
    x = torch.randn(1, c_in, 8, 8)
    pooled = nn.functional.avg_pool2d(x, kernel) if even else x
    expected = torch.zeros(1, c_out, *pooled.shape[2:])
    for channel in range(max(c_in, c_out)):
        expected[:, channel % c_out] += pooled[:, channel % c_in]
    assert correlation(conv(x), expected) > 0.9


@pytest.mark.parametrize(("c_in", "c_out"), [(64, 16), (16, 64)])
def test_a_projection_keeps_lengths(c_in: int, c_out: int) -> None:
    weight = AFPNConv(c_in, c_out).conv.weight.detach().flatten(1)
    gram = weight @ weight.T if c_out < c_in else weight.T @ weight
    torch.testing.assert_close(gram, torch.eye(min(c_in, c_out)), atol=1e-5, rtol=0)


def test_a_lateral_starts_as_a_copy() -> None:
    layer = AFPNConv(16, 16)
    x = torch.randn(2, 16, 8, 8)
    assert correlation(layer.conv(x), x) > 0.95


AUTOCAST: dict[str, Callable[[], nn.Module]] = {
    **{fusion.__name__: partial(fusion, [16, 24, 32], 1) for fusion in FUSIONS},
    "carafe": lambda: AFPNSum([16, 24, 32], 1, ("carafe",)),
    "AFPNResidual": lambda: AFPNResidual(16, 2),
    "AFPNConv": lambda: AFPNConv(16, 32),
}


@pytest.mark.parametrize("name", AUTOCAST)
def test_autocast_is_close_and_trains(name: str) -> None:
    """As `amp=True` trains: bfloat16 forwards, float32 parameters."""
    torch.manual_seed(0)
    layer = randomise(AUTOCAST[name]()).eval()
    levels = [torch.randn(2, c, 16 >> i, 16 >> i) for i, c in enumerate([16, 24, 32])]
    outputs, gradients = [], []
    for enabled in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs.append(layer(levels if isinstance(layer, LevelFusion) else levels[0]).float())
        outputs[-1].square().mean().backward()
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())
        gradients.append(torch.cat([p.grad.flatten() for p in layer.parameters()]))  # type: ignore[union-attr]
    expected, found = outputs
    error = (found - expected).square().mean().sqrt() / expected.std()
    assert 0 < error < 0.05  # not zero: eight bits of mantissa, a few layers deep
    assert gradients[1].isfinite().all()
    assert torch.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.99
