"""The picture of a neck shows every arrow, also one that passes over other boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afpn_yolo.views import neck_figure


@pytest.mark.parametrize(("model", "expected"), [("afpn", 0), ("afpn-lite", 3)])
def test_the_backbones_features_pass_over_the_lite_neck(
    model: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arcs: list[Any] = []
    monkeypatch.setattr(neck_figure, "_draw_arc", lambda axes, start, end: arcs.append(start))
    neck_figure.draw(neck_figure.collect(f"yolov5n-{model}.yaml"), model, tmp_path / "neck.png")
    assert len(set(arcs)) == len(arcs) == expected
