"""A training step of the whole model under autocast, as `amp=True` does it, is that of float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import DEFAULT_CFG


def step(model: Any, dtype: torch.dtype | None) -> tuple[float, dict[str, Tensor]]:
    """Ultralytics' own loss of a batch, and every gradient."""
    generator = torch.Generator().manual_seed(1)
    batch = {
        "img": torch.rand(4, 3, 96, 96, generator=generator),
        "batch_idx": torch.arange(4.0),
        "cls": torch.tensor([[0.0], [1.0], [2.0], [3.0]]),
        "bboxes": torch.rand(4, 4, generator=generator) * 0.4 + 0.3,
    }
    model.train().zero_grad()
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        total, _ = model(batch)
    total.sum().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert all(g is not None for g in found.values())
    return total.sum().item(), {name: g for name, g in found.items() if g is not None}


@pytest.mark.parametrize("fusion", ["", "-sum", "-concat"])
def test_a_step_in_bfloat16_is_the_step_in_float32(fusion: str) -> None:
    torch.manual_seed(0)
    model: Any = DetectionModel(f"yolov5n-afpn{fusion}.yaml", nc=4, verbose=False)
    model.args = DEFAULT_CFG
    dtypes: set[torch.dtype] = set()
    for m in model.model[10:29].modules():
        if isinstance(m, torch.nn.Conv2d):
            m.register_forward_hook(lambda module, args, out: dtypes.add(out.dtype))
    expected, whole = step(model, None)
    assert dtypes == {torch.float32}
    dtypes.clear()
    loss, half = step(model, torch.bfloat16)
    assert dtypes == {torch.bfloat16}
    assert loss == pytest.approx(expected, rel=0.02)
    for name, gradient in half.items():
        assert gradient.dtype == torch.float32
        assert gradient.isfinite().all(), name
    # Of all parameters together; it is 0.92 for the stock yolov5n. bfloat16 has 8 bits, and by a
    # difference of the last one Ultralytics' loss may give an object to another position.
    one, other = (torch.cat([g.flatten() for g in grads.values()]) for grads in (whole, half))
    assert torch.cosine_similarity(one, other, dim=0) > 0.85
