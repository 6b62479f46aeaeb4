"""Our neck computes what the authors' code computes, from their weights by their names."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.graft.shapes import run_rows
from tests import neck

TOLERANCE = 1e-5
BACKBONE_OUTPUTS = (4, 6, 9)
NECK_ROWS = range(10, 29)
OUTPUT_ROWS = (26, 27, 28)
# Their name of a fusion -> our row.
FUSIONS = {"top1": 16, "mid1": 17, "top2": 20, "mid2": 21, "bot2": 22}


def run(model: DetectionModel, features: list[Tensor]) -> dict[int, Tensor]:
    return run_rows(model.model, dict(zip(BACKBONE_OUTPUTS, features, strict=True)), NECK_ROWS)


def build(scale: str, arrays: neck.Arrays, eps: float) -> DetectionModel:
    model = DetectionModel(f"yolov5{scale}-afpn.yaml", verbose=False)
    neck.load(model.model, neck.authors_tensors(arrays), eps)
    return model


def hook_weights(model: Any, rows: Iterable[int]) -> dict[int, Tensor]:
    """Where the weights of these fusions will be once the model has run."""
    maps: dict[int, Tensor] = {}
    for row in rows:
        hook = partial(lambda row, module, args, output: maps.update({row: output}), row)
        model[row].weights.register_forward_hook(hook)
    return maps


@pytest.mark.parametrize("scale", ["n", "s"])
@pytest.mark.parametrize("eps", [1e-3, 1e-5])
def test_eval_outputs_and_weight_maps(scale: str, eps: float) -> None:
    arrays = neck.golden(f"afpn3-{scale}")
    model = build(scale, arrays, eps).eval()
    maps = hook_weights(model.model, FUSIONS.values())
    with torch.no_grad():
        outputs = run(model, neck.inputs(arrays))
    for i, row in enumerate(OUTPUT_ROWS):
        assert neck.difference(outputs[row], arrays[f"eval_eps{eps}_out{i}"]) <= TOLERANCE
    for name, row in FUSIONS.items() if eps == 1e-3 else ():
        assert neck.difference(maps[row], arrays[f"asff_{name}.weights"]) <= TOLERANCE
        assert neck.difference(outputs[row], arrays[f"asff_{name}.output"]) <= TOLERANCE


def test_train_outputs_and_input_gradients() -> None:
    # In double precision: the golden numbers are float32 and carry 7e-6 of rounding themselves,
    # which ours on top would bring above the tolerance.
    arrays = neck.golden("afpn3-n-train")
    model = build("n", arrays, 1e-3).train().double()
    features = [x.double().requires_grad_() for x in neck.inputs(arrays)]
    outputs = run(model, features)
    sum((outputs[row] ** 2).mean() for row in OUTPUT_ROWS).backward()  # type: ignore[union-attr]
    for i, row in enumerate(OUTPUT_ROWS):
        assert neck.difference(outputs[row], arrays[f"train_eps0.001_out{i}"]) <= TOLERANCE
        gradient = features[i].grad
        assert gradient is not None
        assert neck.difference(gradient, arrays[f"train_eps0.001_grad_in{i}"]) <= TOLERANCE


FOUR_LEVELS = ("scalezero", "scaleone", "scaletwo", "scalethree")


def four_level_yaml() -> dict[str, Any]:
    """The neck of the paper's two-stage detectors: levels 2-5, ReLU, four units, P6 from P5."""
    rows: list[list[Any]] = [[-1, 1, "nn.Identity", []]]
    rows += [[0, 1, "Conv", [64 * 2**i, 1, 1]] for i in range(4)]  # 1-4 stand for the backbone
    rows += [[1 + i, 1, "AFPNConv", [8 * 2**i]] for i in range(4)]  # 5-8 reduce
    rows += [[5 + i, 1, "AFPNConv", [8 * 2**i]] for i in range(4)]  # 9-12 lateral
    levels = [9, 10]
    for joining in (11, 12, None):
        first = len(rows)
        rows += [[list(levels), 1, "AFPNFusion", [i, "padded"]] for i in range(len(levels))]
        rows += [[first + i, 1, "AFPNResidual", [4]] for i in range(len(levels))]
        levels = [first + len(levels) + i for i in range(len(levels))]
        if joining:
            levels.append(joining)
    rows += [[level, 1, "AFPNConv", [64]] for level in levels]
    rows.append([-1, 1, "nn.MaxPool2d", [1, 2]])
    return {"nc": 1, "activation": "nn.ReLU()", "backbone": rows[:5], "head": rows[5:]}


FOUR_FUSIONS = {
    **{"scalezero1": 13, "scaleone1": 14},
    **{"scalezero2": 17, "scaleone2": 18, "scaletwo2": 19},
    **{"scalezero3": 23, "scaleone3": 24, "scaletwo3": 25, "scalethree3": 26},
}
FOUR_OUTPUTS = range(31, 36)


@pytest.mark.parametrize("eps", [1e-3, 1e-5])
def test_four_levels(monkeypatch: pytest.MonkeyPatch, eps: float) -> None:
    """All of a four-level neck with ReLU and padded strided convolutions."""
    from ultralytics.nn.tasks import parse_model
    from ultralytics.utils.torch_utils import initialize_weights

    monkeypatch.setattr(Conv, "default_act", Conv.default_act)  # older parsers leave ReLU there
    arrays = neck.golden("afpn4")
    rows, _ = parse_model(four_level_yaml(), ch=3, verbose=False)
    assert not any(isinstance(m, torch.nn.SiLU) for m in rows[5:].modules())
    model = torch.nn.ModuleDict({"model": rows})
    initialize_weights(model)
    tensors = neck.authors_tensors(arrays)
    neck.load(rows, tensors, eps, base=0, units=4, levels=FOUR_LEVELS, row=5)
    model.eval()
    features = dict(zip((1, 2, 3, 4), neck.inputs(arrays), strict=True))
    maps = hook_weights(rows, FOUR_FUSIONS.values())
    with torch.no_grad():
        outputs = run_rows(rows, features, range(5, len(rows)))
    for i, row in enumerate(FOUR_OUTPUTS):
        assert neck.difference(outputs[row], arrays[f"eval_eps{eps}_out{i}"]) <= TOLERANCE
    for name, row in FOUR_FUSIONS.items() if eps == 1e-3 else ():
        assert neck.difference(outputs[row], arrays[f"asff_{name}.output"]) <= TOLERANCE
        assert neck.difference(maps[row], arrays[f"asff_{name}.weights"]) <= TOLERANCE
