"""The four-level neck computes what the authors' code computes, from their weights by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from afpn_yolo.convert import TWO_STAGE_LEVELS, load_authors, pyramid_names
from afpn_yolo.twostage import AsymptoticFeaturePyramid
from tests import neck

TOLERANCE = 1e-5


@pytest.mark.parametrize("eps", [1e-3, 1e-5])
def test_four_levels(eps: float) -> None:
    arrays = neck.golden("afpn4")
    channels = [int(c) for c in arrays["channels"]]
    pyramid = AsymptoticFeaturePyramid(channels, 64, LastLevelMaxPool()).eval()
    tensors = neck.authors_tensors(arrays)
    assert set(load_authors(pyramid, tensors, pyramid_names())) == set(tensors)
    for module in pyramid.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, args, output: seen.update({name: output})

    stages: Any = pyramid.stages
    for number, stage in enumerate(stages, 1):
        for level, fusion in zip(TWO_STAGE_LEVELS, stage.fusions, strict=False):
            fusion.register_forward_hook(keep(f"{level}{number}.output"))
            fusion.weights.register_forward_hook(keep(f"{level}{number}.weights"))
    with torch.no_grad():
        outputs = pyramid({str(i): x for i, x in enumerate(neck.inputs(arrays))})
    assert [*outputs] == ["0", "1", "2", "3", "pool"]
    for i, output in enumerate(outputs.values()):
        assert neck.difference(output, arrays[f"eval_eps{eps}_out{i}"]) <= TOLERANCE
    if eps == 1e-3:  # what the golden file has of the fusions is at this one
        assert len(seen) == 18
        for name, value in seen.items():
            assert neck.difference(value, arrays[f"asff_{name}"]) <= TOLERANCE
