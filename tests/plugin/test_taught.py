"""Necks that come with the package: behind which backbones they are loaded, and what they hold."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.nn.modules.conv import Conv
from ultralytics.utils import LOGGER

from afpn_yolo.plugin import taught
from afpn_yolo.plugin.transfer import last_blocks
from tests.neck import randomise

NAME = "yolov8n-afpn-hybrid"


@pytest.fixture(scope="module")
def coco() -> Any:
    """A stock model in place of COCO's."""
    torch.manual_seed(0)
    return randomise(YOLO("yolov8n.yaml").model)


@pytest.fixture
def shipped(coco: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The only neck that there is, taught behind that model: its tensors."""
    monkeypatch.setattr(taught, "FOLDER", tmp_path / "weights")
    torch.manual_seed(1)
    model: Any = randomise(YOLO(f"{NAME}.yaml").model)
    model.load(coco, verbose=False)
    for tensor in taught.neck_tensors(model).values():
        tensor.data += 0.1 * tensor.abs().mean()
    taught.save_taught(model, last_blocks(coco, model), tmp_path / "weights" / f"{NAME}.npz")
    return {k: v.clone() for k, v in taught.neck_tensors(model).items()}


def has_neck(model: Any, neck: dict[str, Any], source: Any, coco: Any) -> bool:
    """Whether a model's neck is another one up to half precision; blocks changed as in that."""
    tensors = taught.neck_tensors(model)
    before, now = (taught.block_tensors(model, last_blocks(x, model)) for x in (coco, source))
    expected = {k: v + now[k] - before[k] if k in now else v for k, v in neck.items()}
    return all(torch.allclose(tensors[k], v, rtol=1e-2, atol=1e-3) for k, v in expected.items())


@pytest.mark.parametrize("change", ["none", "rounded", "half", "fine-tuned"])
def test_a_backbone_is_recognised(coco: Any, shipped: dict[str, Any], change: str) -> None:
    source = copy.deepcopy(coco)
    if change == "half":
        source = source.half()
    elif change == "rounded":
        for module in source.modules():
            if isinstance(module, Conv):
                scale = module.conv.weight.abs().amax((1, 2, 3), keepdim=True) / 127
                module.conv.weight.data = (module.conv.weight / scale).round() * scale
    elif change == "fine-tuned":
        for weight in source.parameters():
            weight.data += 0.1 * weight.std(correction=0) * torch.randn_like(weight)
    model: Any = YOLO(f"{NAME}.yaml").model
    model.load(source, verbose=False)
    assert has_neck(model, shipped, source, coco)


def test_a_small_variance_is_not_rounded_away(
    coco: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half precision has no room for the difference to a block whose inputs vary much more."""
    monkeypatch.setattr(taught, "FOLDER", tmp_path)
    source = copy.deepcopy(coco)
    networks: list[Any] = [YOLO(f"{NAME}.yaml").model for _ in range(2)]
    model, loaded = networks
    model.load(source, verbose=False)
    blocks: dict[int, Any] = last_blocks(source, model)
    for row, block in blocks.items():
        block.cv1.bn.running_var.fill_(40.0)
        model.model[row].cv1.bn.running_var.fill_(0.003)
    taught.save_taught(model, blocks, tmp_path / f"{NAME}.npz")
    loaded.load(source, verbose=False)
    for row in blocks:
        variance = loaded.model[row].cv1.bn.running_var
        assert torch.allclose(variance, torch.full_like(variance, 0.003), rtol=1e-3)


@pytest.mark.parametrize(
    ("ours", "stock"),
    [
        (f"{NAME}.yaml", "yolov8n.yaml"),  # trained by someone from random weights
        ("yolov8n-afpn.yaml", "COCO"),
        ("yolov8n-afpn-lite-sum.yaml", "COCO"),
        ("yolov8s-afpn-hybrid.yaml", "COCO"),
        ("yolo11n-afpn-lite.yaml", "COCO"),
        ("yolov8n-afpn-lite.yaml", "COCO"),
    ],
)
def test_others_start_fresh(coco: Any, shipped: dict[str, Any], ours: str, stock: str) -> None:
    model: Any = YOLO(ours).model
    source = coco if stock == "COCO" else YOLO(stock).model
    assert not taught.load_taught(model, source, last_blocks(source, model))


def test_the_log_says_so(
    coco: Any, shipped: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(LOGGER, "info", lambda text, *args: lines.append(str(text)))
    network: Any = YOLO(f"{NAME}.yaml").model
    network.load(coco)
    assert sum(f"the neck is afpn_yolo's {NAME}" in line for line in lines) == 1


def test_all_that_ship_fit_the_models_of_their_names() -> None:
    files = sorted(taught.FOLDER.glob("*.npz"))
    assert files
    for path in files:
        model: Any = YOLO(f"{path.stem}.yaml").model
        source: Any = YOLO(f"{path.stem.partition('-')[0]}.yaml").model
        print_of(path, source)
        assert taught.load_taught(model, source, last_blocks(source, model)) == path.stem


def print_of(path: Path, model: Any) -> None:
    """Give a model's backbone the first filters in a file."""
    with np.load(path) as file:
        for name in file.files:
            if name.startswith("print."):
                module: Any = model.model.get_submodule(name.removeprefix("print."))
                module.conv.weight.data[0] = torch.from_numpy(file[name]).float()
                module.bn.reset_running_stats()
