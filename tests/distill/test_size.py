"""Weights under BatchNorm brought to a fresh size: the network gives what it gave."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.upstream.weights import rescale


@pytest.mark.parametrize("yaml", ["yolov5n-afpn-lite.yaml", "yolov5n-afpn.yaml", "yolov5n.yaml"])
@pytest.mark.parametrize("grown", [30.0, 0.2])
@pytest.mark.parametrize("variance", [1.0, 1e-4])
def test_outputs_stay_and_weights_are_of_a_fresh_size(
    yaml: str, grown: float, variance: float
) -> None:
    torch.manual_seed(0)
    model: Any = DetectionModel(yaml, verbose=False)
    images = torch.rand(2, 3, 64, 64)
    model.train()(images)  # running statistics of its own
    convs = [m for m in model.modules() if isinstance(m, Conv)]
    with torch.no_grad():
        for conv in convs:
            conv.conv.weight.mul_(grown)
            conv.bn.running_mean.mul_(grown)
            conv.bn.running_var.mul_(grown**2)
            conv.bn.running_var[::2] *= variance  # channels that hardly vary
            conv.bn.weight[::2] *= variance**0.5
        before = model.eval()(images)[0]
        rescale(model)
        after = model(images)[0]
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-3)
    assert before.std() > 0.1
    for conv in convs:
        weight = conv.conv.weight
        fresh = (3 * weight[0].numel()) ** -0.5
        assert weight.pow(2).mean().sqrt().item() == pytest.approx(fresh, rel=1e-4)


def test_weights_of_zero_stay() -> None:
    conv: Any = Conv(4, 4, 3)
    torch.nn.init.zeros_(conv.conv.weight)
    rescale(conv)
    assert not conv.conv.weight.any()
    assert torch.isfinite(conv.bn.running_var).all()
