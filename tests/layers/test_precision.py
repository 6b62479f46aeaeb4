"""The layers under autocast, as `amp=True` trains them: bfloat16 forwards, float32 parameters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from afpn_yolo.layers import AFPNConcat, AFPNConv, AFPNFusion, AFPNResidual, AFPNSum
from tests.neck import randomise

CHANNELS = [16, 24, 32]
LAYERS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "AFPNFusion": (lambda: AFPNFusion(CHANNELS, 1), True),
    "AFPNSum": (lambda: AFPNSum(CHANNELS, 1), True),
    "AFPNConcat": (lambda: AFPNConcat(CHANNELS, 1), True),
    "AFPNResidual": (lambda: AFPNResidual(16, 2), False),
    "AFPNConv": (lambda: AFPNConv(16, 32), False),
}


def apply(module: nn.Module, levels: list[Tensor], several: bool) -> Tensor:
    output: Tensor = module(levels if several else levels[0])
    return output


@pytest.mark.parametrize("name", LAYERS)
def test_autocast_is_close_and_trains(name: str) -> None:
    make, several = LAYERS[name]
    torch.manual_seed(0)
    module = make()
    randomise(module)
    module.eval()
    levels = [torch.randn(2, c, 16 >> i, 16 >> i) for i, c in enumerate(CHANNELS)]
    expected = apply(module, levels, several)
    with torch.autocast("cpu", torch.bfloat16):
        found = apply(module, levels, several)
    error = (found.float() - expected).square().mean().sqrt() / expected.std()
    assert 0 < error < 0.05  # not zero: eight bits of mantissa, a few layers deep

    gradients: dict[bool, dict[str, Tensor | None]] = {}
    for enabled in (False, True):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = apply(module, levels, several)
        output.float().square().mean().backward()  # type: ignore[no-untyped-call]
        gradients[enabled] = {k: p.grad for k, p in module.named_parameters()}
    for key, gradient in gradients[True].items():
        assert gradient is not None, key
        assert gradient.dtype == torch.float32, key
        assert gradient.isfinite().all(), key
    flat = {
        k: torch.cat([g.flatten() for g in v.values() if g is not None])
        for k, v in gradients.items()
    }
    assert torch.cosine_similarity(flat[False], flat[True], dim=0) > 0.99
