"""The model without a neck that a comparison makes of what it compares."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from afpn_yolo.compare.plan import Candidate
from afpn_yolo.compare.yolo import with_control
from afpn_yolo.evaluation.fingerprint import model_digest
from afpn_yolo.upstream.models import empty_model, read_model_yaml
from tests.processes import ROOT

OWN = (ROOT / "models" / "yolov5-afpn.yaml").read_text("utf-8")


def control_of(model: str, scale: str | None, folder: Path) -> str:
    """Digest of the control; its YAML must be built at the scale that was asked for."""
    first, control = with_control([Candidate("a", model, scale)], folder)
    assert (first.label, control.label, control.scale) == ("a", "none", scale)
    assert with_control([first, control], folder) == [first, control]
    return model_digest(control.model, scale)


def test_control_is_the_one_that_we_ship(tmp_path: Path) -> None:
    shipped = model_digest("yolov5-none.yaml", "n")
    assert control_of("yolov5.yaml", "n", tmp_path) == shipped
    assert control_of("yolov5n-afpn-lite.yaml", None, tmp_path) == shipped
    model: Any = empty_model("yolov5-none.yaml", 80, "n")
    # That of yolov5n, less PAFPN, and three 1x1 convolutions with BatchNorm for it.
    levels = sum(width * width + 2 * width for width in (64, 128, 256))
    assert sum(p.numel() for p in model.parameters()) == 2_654_816 - 710_784 + levels


@pytest.mark.parametrize(
    ("model", "scale", "control"),
    [
        ("yolo11n-afpn-lite.yaml", None, "yolo11n-none.yaml"),
        ("yolov8-p2.yaml", "s", "yolov8-none-p2.yaml"),
        ("yolov9t.yaml", None, "yolov9t-none.yaml"),
    ],
)
def test_control_of_another_family(
    model: str, scale: str | None, control: str, tmp_path: Path
) -> None:
    assert control_of(model, scale, tmp_path) == model_digest(control, scale)


@pytest.mark.parametrize(
    "text",
    [
        OWN,
        OWN.replace("[[26, 27, 28], 1, D", "[[2, 26, 27, 28], 1, D"),
        OWN.replace("n: [0.33, 0.25, 1024]", "n: [0.33, 0.5, 1024]"),
        OWN + "activation: nn.ReLU()\n",
        re.sub(r"(?m)^  [nsmlx]: .*\n", "", OWN),
    ],
    ids=["as ours", "levels", "width", "activation", "no scales"],
)
def test_control_of_a_file_of_ones_own(text: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text, "utf-8")
    scale = "n" if "\n  n: " in text else None
    _, control = with_control([Candidate("a", str(tmp_path / "own.yaml"), scale)], tmp_path)
    content, own = (read_model_yaml(f, scale) for f in (control.model, str(tmp_path / "own.yaml")))
    levels = len(own["head"][-1][0])
    assert [row[2] for row in content["head"]] == ["AFPNConv"] * levels + ["Detect"]
    different = model_digest(control.model, scale) != model_digest("yolov5-none.yaml", "n")
    assert different == (text != OWN)
    keys = own.keys() - {"head", "yaml_file", "scale"}
    assert {key: content[key] for key in keys if own[key]} == {k: own[k] for k in keys if own[k]}


@pytest.mark.parametrize("model", ["rtdetr-l.yaml", "yolov8-cls.yaml", "best.pt"])
def test_no_control_of_what_has_no_pyramid(model: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name your own, none"):
        with_control([Candidate("a", model, None)], tmp_path)
