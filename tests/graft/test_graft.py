"""What a graft makes of a model YAML, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ultralytics import YOLO
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.graft import NECKS, graft, grafted_name
from tests.graft.stock import Config, content, grafted, own
from tests.processes import ROOT


@pytest.mark.parametrize("neck", NECKS)
def test_shipped_files_are_what_the_graft_gives(neck: str) -> None:
    path = ROOT / "models" / grafted_name("yolov5", neck)
    assert path.read_text("utf-8") == grafted("yolov5", neck).text


def test_a_model_of_ones_own() -> None:
    """Its head reads a row that asks for 48 channels, and a concatenation, that asks for none."""
    d = own()
    result = graft(d)
    rows = result.content["head"]
    assert rows[:2] == [[3, 1, "AFPNConv", [48, 0.125]], [4, 1, "AFPNConv", [208, 0.125]]]
    assert result.content["yaml_file"] == "own-afpn.yaml"
    assert {**result.content, **yaml.safe_load(result.text)} == result.content
    models = [DetectionModel({**c, "scale": "n"}, verbose=False) for c in (d, result.content)]
    widths = [[branch[0].conv.in_channels for branch in m.model[-1].cv2] for m in models]
    assert widths == [[24, 104], [24, 104]]


@pytest.mark.parametrize(
    ("neck", "shares"), [("afpn", [0.25] * 3), ("sum", [0.25] * 3), ("lite", [0.375, 0.3125, 0.25])]
)
def test_a_model_without_a_stock_neck_gets_the_usual_widths(neck: str, shares: list[float]) -> None:
    """There is nothing that the neck could take more than."""
    made = graft(own(head=[[[2, 3, 4], 1, "Detect", ["nc"]]]), neck)
    assert [row[3][1] for row in made.content["head"][:3]] == shares
    assert not made.warning


@pytest.mark.parametrize("name", ["yolo11", "yolov8-p2"])
@pytest.mark.parametrize("neck", ["afpn", "lite", "none"])
def test_a_control_of_a_graft_is_that_of_its_stock_model(name: str, neck: str) -> None:
    control = graft(grafted(name, neck).content, "none").content
    assert control["head"] == grafted(name, "none").content["head"]


def test_the_head_keeps_its_order() -> None:
    *rows, last = graft(changed(-1, [[9, 7], 1, "Detect", ["nc"]]), "none").content["head"]
    assert rows == [[3, 1, "AFPNConv", [48]], [4, 1, "AFPNConv", [208]]]
    assert last[0] == [6, 5]


@pytest.mark.parametrize("neck", ["afpn", "lite"])
def test_five_levels(neck: str) -> None:
    stock = content("yolov8-p6")
    taps = {2: 128, 4: 256, 6: 512, 8: 768, 11: 1024}
    head = [[row, 1, "Conv", [width, 3]] for row, width in taps.items()]
    head.append([[*range(12, 17)], 1, "Detect", ["nc"]])
    result = graft({**stock, "head": head, "scale": "n"}, neck).content
    model = DetectionModel(result, verbose=False)
    assert model.stride.tolist() == [4, 8, 16, 32, 64]
    assert [branch[0].conv.in_channels for branch in model.model[-1].cv2] == [32, 64, 128, 192, 256]


def test_carafe_is_written_into_a_graft() -> None:
    """As the docs say; a graft by itself has none, since the paper's YOLO has none."""
    text = grafted("yolo11", "afpn").text
    with_carafe, fusions = re.subn(r"(AFPNFusion, \[\d)\]", r"\1, carafe]", text)
    model = DetectionModel(yaml.safe_load(with_carafe), verbose=False)
    assert fusions == 5
    assert sum(type(m).__name__ == "Carafe" for m in model.modules()) > 0


def test_what_else_a_yaml_says_is_kept() -> None:
    more: Config = {
        "activation": "nn.LeakyReLU(0.1)",
        "kpt_shape": [17, 3],
        "channels": 4,
        "names": {0: "null", 1: "a: b", 2: "caf\u00e9"},
        "scales": {"n": [0.375, 0.5, 1024], "x": [1.0, 1.5, 768]},
    }
    read = yaml.safe_load(graft(own(**more), "lite").text)
    assert {key: read[key] for key in more} == more


@pytest.mark.parametrize("blank", [None, {}])
def test_a_blank_key_for_scales_is_none(
    blank: Config | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, without = graft(own(scales=blank), "lite"), own()
    del without["scales"]
    assert result == graft(without, "lite")
    assert {**result.content, **yaml.safe_load(result.text)} == result.content
    monkeypatch.chdir(tmp_path)
    Path("yolo77.yaml").write_text(yaml.safe_dump(own(scales=blank)), "utf-8")
    assert YOLO("yolo77-afpn-lite.yaml").model.stride.tolist() == [8, 16]


def test_the_neck_has_the_activation_that_the_yaml_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conv, "default_act", Conv.default_act)  # older parsers leave theirs there
    result = graft(own(activation="nn.ReLU()"), "afpn").content
    model = DetectionModel({**result, "scale": "n"}, verbose=False)
    rows = model.model[len(result["backbone"]) : -1]
    kinds = {type(m) for m in rows.modules() if type(m).__module__ == "torch.nn.modules.activation"}
    assert kinds == {torch.nn.ReLU}


@pytest.mark.parametrize("weights", [[], ["DEFAULT", True, 2, True]])
def test_weights_of_a_torchvision_backbone_are_not_downloaded_to_measure_it(
    monkeypatch: pytest.MonkeyPatch, weights: list[Any]
) -> None:
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", pytest.fail)
    split = bool(weights)
    taps = [[0, 1, "Index", [c, i]] for c, i in ((128, 6), (256, 7), (512, 8))] if split else []
    first = [-1, 1, "TorchVision", [512, "resnet18", *weights]]
    conv = [-1, 1, "Conv", [128, 3, 2]]
    read = [1, 2, 3] if split else [0, 1]
    d = {
        "yaml_file": "tv.yaml",
        "nc": 3,
        "backbone": [first, *(taps or [conv])],
        "head": [[read, 1, "Detect", ["nc"]]],
    }
    content = graft(d, "lite").content
    assert content["backbone"] == d["backbone"]
    assert len(content["head"][-1][0]) == len(read)


def test_neither_the_random_numbers_nor_the_content_change() -> None:
    d = own()
    torch.manual_seed(3)
    graft(d)
    drawn = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4))
    assert d == own()


LAST = [[7, 9, 10], 1, "Detect", ["nc"]]


def changed(row: int, content: Any, part: str = "head") -> Config:
    d = own()
    d[part][row] = content
    return d


@pytest.mark.parametrize(
    ("d", "word"),
    [
        (own(head=None), "head"),
        (own(backbone=[[-1, 1, "Conv"]]), "backbone"),
        (changed(-1, [[7, 9], 1, "RTDETRDecoder", ["nc"]]), "RTDETRDecoder"),
        (changed(-1, [-1, 1, "Classify", ["nc"]]), "Classify"),
        (changed(-1, [7, 1, "Detect", ["nc"]]), "one row"),
        (own(head=[[[4], 1, "Detect", ["nc"]]]), "one level"),
        (changed(-1, [[1, 9], 1, "Detect", ["nc"]]), "strides 4, 16"),
        (changed(-1, [[7, 7], 1, "Detect", ["nc"]]), "strides 8, 8"),
        (changed(-1, [[7, 3], 1, "Detect", ["nc"]]), "strides 8, 8"),
        (changed(2, [-1, 1, "AFPNConv", [48]]), "AFPNConv"),
        (changed(2, [-1, 1, "Convv", [48]]), "Convv"),
        (changed(1, [[-1, 2], 1, "Concat", [1]]), "built"),
        (changed(4, [-1, 1, "Conv", [128, 3, 1]], "backbone"), "built"),
        (own(scales={"n": [1, 0.5, 64]}), "64 channels of row 9"),
        (own(head=[*own()["head"][:-1], [-1, 1, "Conv", [64, 3, 2]], LAST]), "stride 32"),
        (own(scales="n"), "scales"),
        (own(scales=["n", "s"]), "scales"),
    ],
)
def test_what_cannot_be_grafted(d: Config, word: str) -> None:
    with pytest.raises(ValueError, match=rf"own\.yaml.*{word}"):
        graft(d)


@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.parametrize("read", [[2, 7], [7]])
def test_a_level_that_only_the_stock_neck_reads_is_fused_to_what_the_head_reads(
    neck: str, read: list[int]
) -> None:
    d = changed(-1, [read, 1, "Detect", ["nc"]])
    model = DetectionModel({**graft(d, neck).content, "scale": "n"}, verbose=False)
    levels: list[torch.Tensor] = []
    model.model[-1].register_forward_pre_hook(lambda _, inputs: levels.extend(inputs[0]))
    model.train()(torch.rand(2, 3, 64, 64))
    expected = [(32, 16, 16), (24, 8, 8)]  # half of the channels that rows 2 and 7 ask for
    assert [tuple(x.shape[1:]) for x in levels] == expected[-len(read) :]
    torch.stack([x.sum() for x in levels]).sum().backward()  # type: ignore[no-untyped-call]
    coarsest = model.model[4].conv.weight.grad
    assert (coarsest is not None and bool(coarsest.any())) == (neck != "none")
    neck_rows = model.model[len(d["backbone"]) : -1]
    assert all(p.grad is not None for p in neck_rows.parameters())  # nothing is built in vain


@pytest.mark.parametrize("neck", ["afpn", "lite"])
def test_a_level_that_only_the_neck_reads_may_have_channels_that_no_width_gives(neck: str) -> None:
    """A concatenation's, which are more than a row of that scale can ask for."""
    d = own(scales={"n": [1, 0.5, 64]})
    d["backbone"].append([[4, 4], 1, "Concat", [1]])
    d["head"][3:] = [[[2, 8], 1, "Detect", ["nc"]]]
    result = graft(d, neck).content
    model = DetectionModel({**result, "scale": "n"}, verbose=False)
    assert model.stride.tolist() == [4, 8]
    assert 5 in [row[0] for row in result["head"]]
