"""A two-stage detector as ONNX: the same detections, and the edge detector's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from ultralytics.utils import ASSETS

from afpn_yolo.cli.__main__ import main
from afpn_yolo.edge import Detector
from afpn_yolo.edge.images import read as read_image
from afpn_yolo.twostage import checkpoint
from afpn_yolo.twostage.config import TrainConfig
from tests.twostage import small

NAMES = {0: "cat", 1: "dog", 2: "cow"}
SIZE = (160, 192)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and, beside it, what the command makes of it."""
    folder = tmp_path_factory.mktemp("export")
    options = {"rpn_post_nms_top_n_test": 60, "box_score_thresh": 0.2}
    with pytest.MonkeyPatch.context() as patch:
        small.use(patch)
        model = small.lively(3, **options)
        sides: Any = {"min_size": (150,), "max_size": 190}  # SIZE, in multiples of 32
        conditions = TrainConfig(backbone="resnet18", options=options, **sides).as_dict()
        content = {"conditions": conditions, "names": NAMES, "model": model.state_dict()}
        checkpoint.save(folder / "best.pt", content)
        assert main(["export-rcnn", str(folder / "best.pt")]) == 0
    return folder


def test_outputs_are_equal_on_a_photograph(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small.use(monkeypatch)
    model, names = checkpoint.open_detector(exported / "best.pt")
    assert names == NAMES
    session = onnxruntime.InferenceSession(exported / "best.onnx")
    for name in ("bus.jpg", "zidane.jpg"):
        picture = cv2.resize(read_image(ASSETS / name), SIZE[::-1])[..., ::-1]
        image = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255
        with torch.no_grad():
            expected = checkpoint.Exportable(model)(torch.from_numpy(image)).numpy()
        (found,) = session.run(None, {"images": image})
        assert found.shape == expected.shape
        assert found.shape[1] > 5
        # Rows of nearly the same score may change places: each has its like.
        apart = np.abs(found[0][:, None] - expected[0][None]) / [*(0.05,) * 4, 0.001, 0.5]
        assert (apart.max(2).min(0) < 1).all()
        assert (apart.max(2).min(1) < 1).all()


def test_the_edge_detector_takes_it(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small.use(monkeypatch)
    detector = Detector(exported / "best.onnx", conf=0.25)
    assert detector.names == NAMES
    picture = read_image(ASSETS / "bus.jpg")
    detections = detector(picture)
    assert len(detections)
    assert (detections.xyxy >= 0).all()
    assert (detections.xyxy <= [*picture.shape[1::-1]] * 2).all()
    assert set(detections.class_ids.tolist()) <= set(NAMES)


def test_mistakes_are_a_sentence(
    exported: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    best = str(exported / "best.pt")
    # With torchvision's own head, that is of another version.
    assert main(["export-rcnn", best]) == 2
    assert "best.pt: its tensors don't fit" in capsys.readouterr().err
    small.use(monkeypatch)
    for words, message in (
        ((best, "--imgsz", "100"), "multiples of 32"),
        ((best, "--imgsz", "1", "2", "3"), "one side"),
        ((str(exported / "best.onnx"),), "no checkpoint"),
        (("missing.pt",), "missing.pt"),
    ):
        assert main(["export-rcnn", *words]) == 2
        assert message in capsys.readouterr().err
