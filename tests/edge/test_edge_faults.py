"""Input that `afpn_yolo.edge` can't take: what it says, and that it goes on with the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from afpn_yolo.edge import Detector
from afpn_yolo.edge.__main__ import main
from tests.lively import PHOTOGRAPHS, small


def encoded(suffix: str, array: np.ndarray) -> bytes:
    return cv2.imencode(suffix, array)[1].tobytes()


BAD: dict[str, tuple[bytes | None, str]] = {
    "missing.jpg": (None, "no such file"),
    "empty.jpg": (b"", "damaged"),
    "text.jpg": (b"some words", "damaged"),
    "cut.jpg": (encoded(".jpg", small())[:-900], "damaged"),
    "cut.png": (encoded(".png", small())[:-900], "damaged"),
    "float.tiff": (encoded(".tiff", np.full((9, 9, 3), np.nan, np.float32)), "float32"),
    "clip.mp4": (b"no film", "can't open"),
    "missing.avi": (None, "no such file"),
    "empty.txt": (b"\n", "no image"),
    "binary.txt": (b"\xff\xfe\0", "no text"),
    "none*.jpg": (None, "no file matches"),
    "voi*": (None, "no file matches"),  # a folder
    "http://127.0.0.1:9/clip.mp4": (None, "can't open it"),
    "rtsp://127.0.0.1:9/1": (None, "can't open it"),
}


def test_bad_sources_are_named_and_the_others_processed(
    edge_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "void").mkdir()
    (tmp_path / "list.txt").write_text("absent.png\ngood.jpg\n")
    cv2.imwrite(str(tmp_path / "good.jpg"), small())
    for name, (data, _) in BAD.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
    assert main([str(edge_model), *BAD, "void", "list.txt"]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("good.jpg: ")
    errors = [text for text in printed.err.splitlines() if text.startswith("error: ")]
    faults = {name: fault for name, (_, fault) in BAD.items()}
    for name, fault in {**faults, "void": "without images", "absent.png": "no such"}.items():
        assert any(name in text and fault in text for text in errors), name


ARRAYS: list[Any] = [
    None,
    3.5,
    np.zeros((0, 9, 3), np.uint8),
    np.zeros(9, np.uint8),
    np.zeros((9, 9, 3), bool),
    np.full((9, 9, 3), np.nan, np.float32),
    np.zeros((1, 9, 9, 3), np.uint8),
]


def test_bad_arrays(edge_model: Path) -> None:
    detector = Detector(edge_model)
    for array in ARRAYS:
        with pytest.raises(ValueError, match="image: expected"):
            detector(array)
        with pytest.raises(ValueError, match="image 1 of the list: expected"):
            detector([small(), array])


METADATA = (
    *(("names", "{0: "), ("names", "5"), ("names", "-" * 200_000), ("imgsz", "640")),
    *(("imgsz", "[0, 64]"), ("imgsz", "[1e9, 64]"), ("stride", "[32]"), ("stride", "0")),
    *(("batch", "None"), ("batch", "10**9"), ("args", "[1]"), ("end2end", "[")),
)
"""Keys and values of an export's metadata that was tampered with."""


def spoil(model: Path, target: Path, fault: str) -> str:
    """Write a model that can't be used; returns what must be said of it."""
    if fault == "missing":
        return "no such file"
    if fault == "damaged":
        target.write_bytes(model.read_bytes()[:-5000])
        return "damaged"
    graph = onnx.load(model)
    properties = {p.key: p.value for p in graph.metadata_props}
    if fault == "grey images":
        ends = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 64, 64])
            for name in ("images", "output")
        ]
        node = onnx.helper.make_node("Identity", ["images"], ["output"])
        graph.graph.CopyFrom(onnx.helper.make_graph([node], "grey", ends[:1], ends[1:]))
    faults: dict[str, tuple[dict[str, str], str]] = {
        "foreign": ({"names": ""}, "not exported by Ultralytics"),
        "another task": ({"task": "classify"}, "only detect, segment, pose, obb have boxes"),
        "no masks": ({"task": "segment"}, "doesn't suit the task segment and its 4 classes"),
        "no angles": ({"task": "obb"}, "doesn't suit the task obb"),
        "other classes": (
            {"names": "{0: 'one'}"},
            "doesn't suit the task detect and its 1 classes",
        ),
        **{
            f"{key} {value[:9]}": ({key: value}, f"metadata is damaged: {key} is ")
            for key, value in METADATA
        },
        "grey images": ({}, "of shape [1, 1, 64, 64], and only colour ones, of 3 channels"),
    }
    changes, message = faults[fault]
    onnx.helper.set_model_props(graph, {k: v for k, v in {**properties, **changes}.items() if v})
    onnx.save(graph, target)
    return message


MODELS = (
    *("missing", "damaged", "foreign", "another task", "no masks", "no angles", "other classes"),
    "grey images",
    *(f"{key} {value[:9]}" for key, value in METADATA),
)


@pytest.mark.parametrize("fault", MODELS)
def test_bad_models(
    edge_model: Path, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "bad.onnx"
    message = spoil(edge_model, target, fault)
    assert main([str(target), str(PHOTOGRAPHS[0])]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert str(target) in error
    assert message in error
    assert error.count("\n") == 1
    assert len(error) < 600


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--conf nan", "conf must be from 0 to 1, got nan"),
        ("--iou 1.5", "iou must be from 0 to 1"),
        ("--classes 0 9", "classes: 9 is no class of the model; it has 0 person"),
        ("--max-det 0", "max_det must be at least 1, got 0"),
        ("--threads 0", "threads must be at least 1, got 0"),
        ("--imgsz 320", "exported for 160x160 only"),
        ("--json no/such/folder.json", "error: no/such/folder.json: no such"),
        ("--json /dev/full", "No space left"),
    ],
)
def test_bad_options(
    edge_model: Path, options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(edge_model), str(PHOTOGRAPHS[0]), *options.split()]) == 2
    assert message in capsys.readouterr().err


def test_bad_arguments(edge_model: Path) -> None:
    with pytest.raises(ValueError, match="one number or two"):
        Detector(edge_model, imgsz=(64, 64, 64))
    with pytest.raises(ValueError, match=r"has no NoneSuch"):
        Detector(edge_model, providers=[("NoneSuch", {"device_id": 1})])


def test_a_provider_can_have_options(edge_model: Path) -> None:
    options = {"arena_extend_strategy": "kSameAsRequested"}
    plain, given = (
        Detector(edge_model, 0.001, providers=providers)(PHOTOGRAPHS[0])
        for providers in (["CPUExecutionProvider"], [("CPUExecutionProvider", options)])
    )
    assert len(plain) > 0
    assert np.array_equal(plain.xyxy, given.xyxy)
