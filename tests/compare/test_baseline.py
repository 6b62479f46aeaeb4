"""The model without a neck that a comparison finds for what it compares."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from afpn_yolo.compare.baseline import same_but_neck, with_control
from afpn_yolo.compare.plan import Candidate
from afpn_yolo.upstream.models import empty_model
from afpn_yolo.upstream.scales import read_model_yaml
from tests.processes import ROOT, afpn


@pytest.mark.parametrize("scale", ["n", "s", "m", "l", "x"])
def test_control(scale: str) -> None:
    pafpn = Candidate("PAFPN", "yolov5.yaml", scale)
    necks = with_control([pafpn])
    assert necks == [pafpn, Candidate("none", "yolov5-none.yaml", scale)]
    assert with_control(necks) == necks
    if scale == "n":
        model: Any = empty_model("yolov5-none.yaml", 80, scale)
        assert model.stride.tolist() == [8, 16, 32]
        # That of yolov5n, less PAFPN, and three 1x1 convolutions with BatchNorm for it.
        levels = sum(width * width + 2 * width for width in (64, 128, 256))
        assert sum(p.numel() for p in model.parameters()) == 2_654_816 - 710_784 + levels
    named = with_control([Candidate("a", f"yolov5{scale}-afpn.yaml")])
    assert named[1].model == f"yolov5{scale}-none.yaml"


@pytest.mark.parametrize(
    ("model", "scale", "control"),
    [
        ("yolov8.yaml", "n", "yolov8-none.yaml"),
        ("yolo11n-afpn-lite.yaml", None, "yolo11n-none.yaml"),
        ("yolov8-p2.yaml", "s", "yolov8-none-p2.yaml"),
        ("yolov9t.yaml", None, "yolov9t-none.yaml"),
    ],
)
def test_control_of_another_family(model: str, scale: str | None, control: str) -> None:
    assert with_control([Candidate("a", model, scale)])[1:] == [Candidate("none", control, scale)]


def test_a_model_of_the_users_that_is_the_control_is_not_trained_twice(tmp_path: Path) -> None:
    copy = tmp_path / "my5.yaml"
    copy.write_bytes((ROOT / "models" / "yolov5-none.yaml").read_bytes())
    for scale, models in (
        (None, ("yolov5n-none.yaml", "yolov5n.yaml")),
        ("n", ("yolov5.yaml", "yolov5-none.yaml")),
        ("n", ("yolov5-afpn.yaml", str(copy))),
    ):
        necks = [Candidate(label, model, scale) for label, model in zip("ab", models, strict=True)]
        named = {neck.label: neck.model for neck in with_control(necks)}
        own = next(model for model in models if "none" in model or model == str(copy))
        assert len(named) == 2
        assert named["none"] == own


OWN = (ROOT / "models" / "yolov5-afpn.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        # Four levels on the same backbone: three levels would be no control of that.
        OWN.replace("[[26, 27, 28], 1, D", "[[2, 26, 27, 28], 1, D"),
        # Three others, and as many as the control has.
        OWN.replace("[[26, 27, 28], 1, D", "[[2, 4, 6], 1, D"),
        # Of other widths.
        OWN.replace("AFPNConv, [512]]", "AFPNConv, [640]]"),
        OWN.replace("n: [0.33, 0.25, 1024]", "n: [0.33, 0.5, 1024]"),
        OWN + "activation: nn.ReLU()\n",
        OWN + "channels: 4\n",
    ],
    ids=["levels", "other levels", "widths read", "width", "activation", "channels"],
)
def test_control_of_a_file_of_ones_own(text: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN, "utf-8")
    assert with_control([Candidate("a", str(path), "n")])[1].model == "yolov5-none.yaml"
    assert text != OWN
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match="--control: no name gives the model") as refusal:
        with_control([Candidate("a", str(path), "n")])
    command, named = str(refusal.value).split("make it, ")[1].split(", and name it, none=")
    afpn(*shlex.split(command)[1:], cwd=tmp_path)
    control, model = (read_model_yaml(str(file), "n") for file in (named, path))
    assert same_but_neck(control, model)
    levels = len(model["head"][-1][0])
    assert [row[2] for row in control["head"]] == ["AFPNConv"] * levels + ["Detect"]


def test_control_of_a_file_with_a_blank_key_for_scales(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(re.sub(r"(?m)^  [nsmlx]: .*\n", "", OWN), "utf-8")
    assert read_model_yaml(str(path))["scales"] is None
    with pytest.raises(ValueError, match=r"make it, afpn graft \S+own\.yaml --neck none"):
        with_control([Candidate("a", str(path))])


@pytest.mark.parametrize("model", ["rtdetr-l.yaml", "yolov8-cls.yaml"])
def test_no_control_of_what_has_no_pyramid(model: str) -> None:
    with pytest.raises(
        ValueError, match=rf"--control: {model}: it ends in .*; name your own, none"
    ):
        with_control([Candidate("a", model, None)])


def test_no_control_of_another_head() -> None:
    content = read_model_yaml("yolo26.yaml", "n") | {"end2end": False}
    assert not same_but_neck(read_model_yaml("yolo26-none.yaml", "n"), content)
