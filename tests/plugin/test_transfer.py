"""Weights of another model in one with a neck of ours: backbone and head, and no rows by chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO
from ultralytics.nn.tasks import BaseModel, DetectionModel
from ultralytics.utils import LOGGER


def model_of(name: str, nc: int = 80) -> Any:
    """A network whose tensors are random, so that what was copied is told from what was not."""
    network: Any = YOLO(name).model
    if nc != 80:
        network = type(network)(network.yaml, nc=nc, verbose=False)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor))
    return network


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stock") / "stock.pt"
    model = YOLO("yolo11n.yaml")
    for tensor in model.model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor).half().float())  # `save` halves
    model.model.names = {i: f"thing {i}" for i in range(80)}
    model.save(path)
    return path


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged."""
    lines: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(LOGGER, level, lambda text, *args: lines.append(str(text)))
    return lines


def carried(network: Any, source: Any, rows: dict[int, int]) -> set[str]:
    """The tensors of some rows that have the values of the source's; source's row by ours."""
    found = set()
    for ours, theirs in rows.items():
        given = source.model[theirs].state_dict()
        for name, tensor in network.model[ours].state_dict().items():
            if name in given and torch.equal(tensor, given[name]):
                found.add(f"{ours}.{name}")
    return found


def all_of(network: Any, rows: range | list[int]) -> set[str]:
    """Names of the tensors of some rows."""
    return {f"{row}.{name}" for row in rows for name in network.model[row].state_dict()}


def by_row(network: Any) -> dict[int, int]:
    """Backbone and head of YOLO11: rows 0 to 10, and the last."""
    last = len(network.model) - 1
    return {**{i: i for i in range(11)}, last: -1}


def test_backbone_and_head_by_value(teacher: Path, logged: list[str]) -> None:
    model = YOLO("yolo11n-afpn-lite.yaml")
    network: Any = model.model
    source: Any = YOLO(teacher).model.float()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    model.load(teacher)
    rows = by_row(network)
    assert carried(network, source, rows) == all_of(network, [*rows])
    neck = range(11, len(network.model) - 1)
    for name, tensor in network.state_dict().items():
        if int(name.split(".")[1]) in neck:
            torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert network.names[7] == "thing 7"
    assert sum("tensors of the backbone (rows 0-10)" in line for line in logged) == 1


def test_rows_that_are_alike_by_chance_are_not_taken() -> None:
    """The lite neck and the published one number their rows alike, with some of the same shape."""
    network, source = (model_of(f"yolo11n-afpn{kind}.yaml") for kind in ("-lite", ""))
    neck = range(11, min(len(network.model), len(source.model)) - 1)
    chance = [
        name
        for name, tensor in network.state_dict().items()
        if int(name.split(".")[1]) in neck
        and tensor.ndim
        and tensor.shape == source.state_dict().get(name, torch.empty(0)).shape
    ]
    assert chance, "else this shows nothing"
    network.load(source)
    assert not any(torch.equal(network.state_dict()[k], source.state_dict()[k]) for k in chance)
    assert carried(network, source, by_row(network)) == all_of(network, [*by_row(network)])


@pytest.mark.parametrize(
    ("source", "hybrid", "fresh"),
    [
        ("yolov5n.yaml", "yolov5n-afpn-hybrid.yaml", {"cv1.conv.weight", "cv2.conv.weight"}),
        ("yolo11n-seg.yaml", "yolo11n-afpn-hybrid-seg.yaml", {"cv1.conv.weight"}),
        ("yolov8n-p2.yaml", "yolov8n-afpn-hybrid.yaml", {"cv1.conv.weight"}),
    ],
)
def test_a_hybrid_has_the_last_block_of_each_level(
    source: str, hybrid: str, fresh: set[str]
) -> None:
    """But for the convolutions that read what is fused, which has other channels."""
    stock, network = model_of(source), model_of(hybrid)
    network.load(stock)
    theirs = {float(s): i for s, i in zip(stock.stride, stock.model[-1].f, strict=True)}
    rows = {i: theirs[float(s)] for s, i in zip(network.stride, network.model[-1].f, strict=True)}
    missing = all_of(network, [*rows]) - carried(network, stock, rows)
    assert missing == {f"{row}.{name}" for row in rows for name in fresh}
    neck = {*range(len(network.yaml["backbone"]), len(network.model) - 1)} - {*rows}
    same = carried(network, stock, {i: i for i in neck if i < len(stock.model)})
    assert not [name for name in same if not name.endswith("tracked")]


def test_another_number_of_classes() -> None:
    source, network = model_of("yolo11n.yaml"), model_of("yolo11n-afpn-lite.yaml", nc=5)
    network.load(source)
    last = len(network.model) - 1
    found = carried(network, source, by_row(network))
    scores = {f"{last}.cv3.{level}.2.{part}" for level in range(3) for part in ("weight", "bias")}
    assert all_of(network, [*range(11), last]) - found == scores
    assert network.names == {i: str(i) for i in range(5)}
    assert network.model[-1].cv3[0][-1].out_channels == 5


def class_tensors(name: str, source: Any) -> int:
    """How many tensors of the class branches a model of five classes has from another one."""
    network: Any = DetectionModel(name, nc=5, verbose=False)
    network.load(source)
    ours, theirs = (model.model[-1].state_dict() for model in (network, source))
    names = [k for k, v in ours.items() if k.startswith("cv3") and v.ndim]
    return sum(ours[k].shape == theirs[k].shape and torch.equal(ours[k], theirs[k]) for k in names)


@pytest.mark.parametrize("source", ["yolo11n-seg.yaml", "yolov8n-pose.yaml"])
def test_from_another_task_with_other_classes_as_much_is_transferred_as_to_stock(
    source: str,
) -> None:
    stock = source.split("-")[0]
    network = model_of(source)
    count = class_tensors(f"{stock}-afpn-lite.yaml", network)
    assert count >= class_tensors(f"{stock}.yaml", network) > 0
    assert count >= 27


@pytest.mark.parametrize(
    ("stock", "graft", "branches"),
    [
        ("yolo11n-seg.yaml", "yolo11n-afpn-lite-seg.yaml", {"cv2", "cv3", "cv4", "proto", "dfl"}),
        ("yolo11n.yaml", "yolo11n-afpn-lite-pose.yaml", {"cv2", "dfl"}),  # of one class
        ("yolo11n.yaml", "yolo11n-afpn-seg.yaml", {"cv2", "cv3", "dfl"}),
        ("yolo26n.yaml", "yolo26n-afpn.yaml", {"cv2", "cv3", "one2one_cv2", "one2one_cv3"}),
        ("yolo11n.yaml", "yolo11n-none.yaml", {"cv2", "cv3", "dfl"}),
    ],
)
def test_other_tasks_and_families(stock: str, graft: str, branches: set[str]) -> None:
    source, network = model_of(stock), model_of(graft)
    first, last = len(network.yaml["backbone"]), len(network.model) - 1
    network.load(source)
    found = carried(network, source, {**{i: i for i in range(first)}, last: -1})
    wanted = {k for k in all_of(network, [last]) if k.split(".")[1] in branches}
    assert found >= all_of(network, range(first)) | wanted
    assert {k.split(".")[1] for k in wanted} == branches


def test_levels_are_matched_by_stride() -> None:
    source, network = model_of("yolov8n-p2.yaml"), model_of("yolov8n-afpn.yaml")
    network.load(source)
    ours, theirs = network.model[-1].cv2, source.model[-1].cv2
    for i in range(3):  # the teacher's finest level is at stride 4
        assert torch.equal(ours[i][1].conv.weight, theirs[i + 1][1].conv.weight)


@pytest.mark.parametrize("name", ["yolov8n-cls.yaml", "yolo11n.yaml"])
def test_what_does_not_fit_is_warned_of(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier, and a model of another scale; of its head some hidden layers fit by shape."""
    source, network = model_of(name), model_of("yolo11s-afpn-lite.yaml")
    head = {k: v.clone() for k, v in network.model[-1].state_dict().items()}
    warned: list[str] = []
    monkeypatch.setattr(LOGGER, "warning", lambda text, *args: warned.append(str(text)))
    network.load(source)
    same = [torch.equal(v, head[k]) for k, v in network.model[-1].state_dict().items()]
    assert all(same) == ("cls" in name)
    (line,) = warned
    assert name in line


def test_a_checkpoint_of_ones_own_is_loaded_in_full(tmp_path: Path, logged: list[str]) -> None:
    for name in ("yolo11n-afpn-lite.yaml", "yolov5n-afpn.yaml"):
        source = model_of(name)
        network: Any = YOLO(name).model
        network.load({"model": source})
        theirs = source.state_dict()
        assert all(torch.equal(v, theirs[k]) for k, v in network.state_dict().items())
    assert not any("transferred" in line for line in logged)


def test_stock_models_are_loaded_as_ever(logged: list[str]) -> None:
    source = model_of("yolo11n-afpn.yaml")
    torch.manual_seed(0)
    one: Any = YOLO("yolo11n.yaml").model
    torch.manual_seed(0)
    other: Any = YOLO("yolo11n.yaml").model
    one.load(source)
    BaseModel.load.__wrapped__(other, source)
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())
    assert not any("transferred" in line for line in logged)


class Stop(Exception):
    pass


def test_a_training_starts_with_them(
    teacher: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`yolo train model=yolo11n-afpn-lite.yaml pretrained=stock.pt`, up to its first batch."""
    monkeypatch.chdir(tmp_path)
    model = YOLO("yolo11n-afpn-lite.yaml")
    networks = []

    def look(trainer: Any) -> None:
        networks.append(trainer.model)
        raise Stop

    model.add_callback("on_pretrain_routine_end", look)
    options: dict[str, Any] = {"imgsz": 64, "batch": 4, "workers": 0, "plots": False}
    with pytest.raises(Stop):
        model.train(data=small_data, pretrained=str(teacher), project=tmp_path, **options)
    network: Any = networks[0].float()
    source: Any = YOLO(teacher).model.float()
    found = carried(network, source, by_row(network))
    rows = [*by_row(network)]
    assert {name for name in all_of(network, rows) if ".cv3." not in name} <= found
