"""`python -m afpn_yolo.edge`: sources, results, and what it says of what it can't read."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from afpn_yolo.edge import Detector
from afpn_yolo.edge.__main__ import main
from afpn_yolo.edge.progress import line
from afpn_yolo.edge.results import Album
from afpn_yolo.edge.sources import Picture
from tests.lively import PHOTOGRAPHS, export, photograph
from tests.processes import run

EDGE = (sys.executable, "-m", "afpn_yolo.edge")


@pytest.fixture(scope="module")
def model(lively: Path) -> Path:
    return export(lively, "imgsz=160")


def image(seed: int = 0) -> np.ndarray:
    return photograph(PHOTOGRAPHS[seed % 2], 90 + seed % 7, 120)


def save_clip(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (120, 90))
    for i in range(frames):
        writer.write(image(i % 2)[:90])
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of one stem, a text and a clip."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.png", "a b.jpg", "b.jpg"):
        cv2.imwrite(str(folder / name), image())
    (folder / "notes.txt").write_text("not an image")
    save_clip(folder / "clip.avi", 5)
    return folder


def test_folder_pattern_and_clip(model: Path, folder: Path, tmp_path: Path) -> None:
    options = ("--out", "drawn", "--json", "found.json", "--conf", "0.1")
    result = run(*EDGE, model, folder, f"{folder}/*.jpg", *options, cwd=tmp_path)
    names = [text.rsplit(": ", 1)[0] for text in result.stdout.splitlines()]
    listed = [*("a b.jpg", "b.jpg", "b.png", "clip.avi"), *("a b.jpg", "b.jpg")]
    assert names == [str(folder / name) for name in listed]
    drawn = {path.name for path in (tmp_path / "drawn").iterdir()}
    assert drawn == {"a b.jpg", "b.jpg", "b-2.jpg", "clip.avi", "a b-2.jpg", "b-3.jpg"}
    entries = json.loads((tmp_path / "found.json").read_text())
    assert [e.get("frame") for e in entries] == [None] * 3 + [*range(5)] + [None] * 2
    expected = Detector(model, 0.1)(folder / "b.png")
    assert len(expected) > 3
    entry = entries[2]
    assert (entry["width"], entry["height"]) == (120, 90)
    assert [d["name"] for d in entry["detections"]] == [
        expected.names[i] for i in expected.class_ids.tolist()
    ]
    assert np.abs([d["xyxy"] for d in entry["detections"]] - expected.xyxy).max() < 0.001
    picture, clip = cv2.imread(str(tmp_path / "drawn" / "b.jpg")), tmp_path / "drawn" / "clip.avi"
    assert picture is not None
    assert np.abs(picture.astype(int) - image()).max() > 100
    capture = cv2.VideoCapture(str(clip))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert capture.get(cv2.CAP_PROP_FPS) == 12


def test_results_beside_the_sources_write_over_none(model: Path, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    run(*EDGE, model, folder, "--out", folder, cwd=folder)
    assert {path: path.read_bytes() for path in before} == before
    assert len([*folder.iterdir()]) == len(before) + 4


def encoded(suffix: str, array: np.ndarray) -> bytes:
    return cv2.imencode(suffix, array)[1].tobytes()


BAD: dict[str, tuple[bytes | None, str]] = {
    "missing.jpg": (None, "No such file"),
    "empty.jpg": (b"", "damaged"),
    "text.jpg": (b"some words", "damaged"),
    "cut.jpg": (encoded(".jpg", image())[:-900], "damaged"),
    "cut.png": (encoded(".png", image())[:-900], "damaged"),
    "deep.png": (encoded(".png", image().astype(np.uint16) * 257), "16-bit"),
    "grey.png": (encoded(".png", image()[..., 0]), "grey"),
    "grey.jpg": (encoded(".jpg", image()[..., 0]), "grey"),
    "rgba.png": (encoded(".png", np.dstack((image(), image()[..., 0]))), "RGBA"),
    "float.tiff": (encoded(".tiff", np.full((9, 9, 3), np.nan, np.float32)), "NaN"),
    "clip.mp4": (b"no film", "can't open"),
    "missing.avi": (None, "No such file"),
    "none*.jpg": (None, "no file matches"),
    "voi*": (None, "no file matches"),  # a folder
}


def test_bad_sources_are_named_and_the_others_processed(model: Path, tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    cv2.imwrite(str(tmp_path / "good.jpg"), image())
    for name, (data, _) in BAD.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
    result = run(*EDGE, model, *BAD, "void", "good.jpg", cwd=tmp_path, fails=True)
    assert result.returncode == 2
    assert result.stdout.startswith("good.jpg: ")
    errors = [text for text in result.stderr.splitlines() if text.startswith("error: ")]
    faults = {name: fault for name, (_, fault) in BAD.items()}
    faults["void"] = "without images"
    for name, fault in faults.items():
        assert any(name in text and fault in text for text in errors), name
    assert "Traceback" not in result.stderr


ARRAYS: dict[str, tuple[Any, str]] = {
    "None": (None, "got None"),
    "no array": (3.5, "got float"),
    "no pixels": (np.zeros((0, 9, 3), np.uint8), "no pixels"),
    "16 bits": (np.zeros((9, 9, 3), np.uint16), "16-bit"),
    "grey": (np.zeros((9, 9), np.uint8), "grey"),
    "grey, one channel": (np.zeros((9, 9, 1), np.uint8), "grey"),
    "RGBA": (np.zeros((9, 9, 4), np.uint8), "RGBA"),
    "NaN": (np.full((9, 9, 3), np.nan, np.float32), "NaN among"),
    "a batch": (np.zeros((1, 9, 9, 3), np.uint8), "one image"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_bad_arrays(model: Path, case: str) -> None:
    array, fault = ARRAYS[case]
    detector = Detector(model)
    with pytest.raises(ValueError, match=f"^image: .*{fault}"):
        detector(array)
    with pytest.raises(ValueError, match=f"^image 1 of the list: .*{fault}"):
        detector([image(), array])


def spoil(model: Path, target: Path, fault: str) -> str:
    """Write a model that can't be used; returns what must be said of it."""
    if fault == "missing":
        return "No such file"
    if fault == "damaged":
        target.write_bytes(model.read_bytes()[:-5000])
        return "damaged"
    graph = onnx.load(model)
    properties = {p.key: p.value for p in graph.metadata_props}
    faults: dict[str, tuple[dict[str, str], str]] = {
        "foreign": ({"names": ""}, "not exported by Ultralytics"),
        "another task": ({"task": "segment"}, "segment"),
        "other classes": ({"names": "{0: 'one'}"}, "doesn't suit its 1 classes"),
        "unreadable names": ({"names": "{0: "}, "can't be read"),
    }
    changes, message = faults[fault]
    onnx.helper.set_model_props(graph, {k: v for k, v in {**properties, **changes}.items() if v})
    onnx.save(graph, target)
    return message


MODELS = "missing", "damaged", "foreign", "another task", "other classes", "unreadable names"


@pytest.mark.parametrize("fault", MODELS)
def test_bad_models(
    model: Path, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "bad.onnx"
    message = spoil(model, target, fault)
    assert main([str(target), str(PHOTOGRAPHS[0])]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert str(target) in error
    assert message in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--conf nan", "conf must be from 0 to 1, got nan"),
        ("--iou 1.5", "iou must be from 0 to 1"),
        ("--threads 0", "threads must be at least 1"),
        ("--imgsz 320", "exported for 160x160 only"),
        ("--json no/such/folder.json", "no/such/folder.json"),
        ("--json /dev/full", "No space left"),
    ],
)
def test_bad_options(
    model: Path, options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(model), str(PHOTOGRAPHS[0]), *options.split()]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"imgsz": (64, 64, 64)}, r"one whole number or two, got \(64, 64, 64\)"),
        ({"imgsz": 64.5}, "one whole number or two, got 64.5"),
        ({"conf": "0.5"}, "conf must be from 0 to 1, got '0.5'"),
    ],
)
def test_bad_arguments(model: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Detector(model, **options)


def test_numbers_of_numpy_are_numbers(model: Path) -> None:
    detector = Detector(model, np.float32(0.5), imgsz=np.int64(160))  # type: ignore[arg-type]
    assert detector.imgsz == (160, 160)


def test_a_picture_too_large_for_a_jpeg(tmp_path: Path) -> None:
    album = Album(tmp_path, [])
    with pytest.raises(OSError, match=r"high\.jpg: OpenCV can't write a JPEG of 1 x 66000 pixels"):
        album.save(Picture(tmp_path / "high.png"), np.zeros((66000, 1, 3), np.uint8))


def test_a_clip_that_ends_early_says_so(model: Path, tmp_path: Path) -> None:
    clip = save_clip(tmp_path / "clip.avi", 40)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    printed = run(*EDGE, model, clip, cwd=tmp_path).stdout
    assert re.search(r"clip\.avi: \d+ frames of 40 that it announces, \d+ boxes", printed)


class Camera:
    """Stands for cv2.VideoCapture; at the fourth frame somebody presses Ctrl-C."""

    def __init__(self, number: int) -> None:
        assert number == 0
        self.seen = 0

    def isOpened(self) -> bool:
        return True

    def get(self, _: int) -> float:
        return -1.0

    def read(self) -> tuple[bool, np.ndarray]:
        self.seen += 1
        if self.seen > 3:
            raise KeyboardInterrupt
        return True, image()

    def release(self) -> None:
        pass


def test_camera_until_interrupted(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(cv2, "VideoCapture", Camera)
        assert main([str(model), "0", "--json", "found.json", "--out", "drawn"]) == 0
    assert "camera 0: 3 frames" in capsys.readouterr().out
    assert len(json.loads(Path("found.json").read_text())) == 3
    capture = cv2.VideoCapture("drawn/camera0.avi")
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_interrupted_clip_leaves_a_whole_json(model: Path, tmp_path: Path) -> None:
    clip, found = save_clip(tmp_path / "long.avi", 1500), tmp_path / "found.json"
    process = subprocess.Popen([*EDGE, model, clip, "--json", found], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (found.exists() and found.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.decode().strip() == "stopped"
    assert 0 < len(json.loads(found.read_text())) < 1500


def test_reader_that_goes_away(model: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*EDGE, model, *PHOTOGRAPHS, "--json", tmp_path / "found.json"]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")
    json.loads((tmp_path / "found.json").read_text())


def test_help_names_the_options(tmp_path: Path) -> None:
    text = run(*EDGE, "--help", cwd=tmp_path).stdout
    assert all(option in text for option in ("--conf", "--imgsz", "--out", "--json", "--threads"))


def test_progress_line() -> None:
    assert line("a.mp4", 50, 200, 10) == f"a.mp4 [{'#' * 7:-<30}] 50/200 frames, 5.0/s"
    assert line("camera 0", 30, None, 2) == "camera 0 30 frames, 15.0/s"
    assert "[" + "#" * 30 + "]" in line("a.mp4", 300, 200, 10)  # more than the file announced
