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


METADATA = [
    *(("names", ""), ("task", "classify"), ("task", "segment"), ("task", "obb")),
    *(("names", "{0: 'one'}"), ("names", "{0: "), ("names", "5"), ("names", "-" * 200_000)),
    *(("imgsz", "640"), ("imgsz", "[0, 64]"), ("imgsz", "[1e9, 64]")),
    *(("stride", "[32]"), ("stride", "0"), ("batch", "None"), ("batch", "10**9")),
    *(("args", "[1]"), ("end2end", "[")),
]
"""Keys and values of an export's metadata that don't suit it, or that was tampered with."""


def assert_refused(model: onnx.ModelProto, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one sentence that names the file."""
    onnx.save(model, path)
    assert main([str(path), str(PHOTOGRAPHS[0])]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: ")
    assert "can't open" not in error
    assert error.count("\n") == 1
    assert len(error) < 600


def test_bad_metadata(edge_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(edge_model)
    properties = {p.key: p.value for p in model.metadata_props}
    for key, value in METADATA:
        changed = {**properties, key: value}
        onnx.helper.set_model_props(model, {k: v for k, v in changed.items() if v})
        assert_refused(model, tmp_path / "bad.onnx", capsys)


def test_a_model_of_grey_images(
    edge_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(edge_model)
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 64, 64])
        for name in ("images", "output")
    ]
    node = onnx.helper.make_node("Identity", ["images"], ["output"])
    model.graph.CopyFrom(onnx.helper.make_graph([node], "grey", ends[:1], ends[1:]))
    assert_refused(model, tmp_path / "grey.onnx", capsys)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--conf nan", "conf"),
        ("--iou 1.5", "iou"),
        ("--classes 0 9", "9 is no class of the model; it has 0 person"),
        ("--max-det 0", "max_det"),
        ("--threads 0", "threads"),
        ("--imgsz 160 160 160", "imgsz"),
        ("--json no/such/folder.json", "no/such/folder.json"),
        ("--json /dev/full", "No space left"),
    ],
)
def test_bad_options(
    edge_model: Path, options: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(edge_model), str(PHOTOGRAPHS[0]), *options.split()]) == 2
    assert named in capsys.readouterr().err
