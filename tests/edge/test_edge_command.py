"""`python -m afpn_yolo.edge`: sources, results, and what it says of what it can't read."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
from onnxruntime import InferenceSession

from afpn_yolo.edge import Detector
from afpn_yolo.edge.__main__ import main
from afpn_yolo.edge.sinks import Album
from afpn_yolo.edge.sources import Source
from tests.lively import PHOTOGRAPHS, small
from tests.processes import AFPN, EDGE, run


def save_clip(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (120, 90))
    for i in range(frames):
        writer.write(small(i % 2)[:90])
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of one stem, a text and a clip."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.png", "a b.jpg", "b.jpg"):
        cv2.imwrite(str(folder / name), small())
    (folder / "notes.txt").write_text("not an image")
    save_clip(folder / "clip.avi", 5)
    return folder


def test_folder_pattern_and_clip(
    edge_model: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--out", "drawn", "--json", "found.json", "--conf", "0.1")
    assert main([str(edge_model), str(folder), f"{folder}/*.jpg", *options]) == 0
    names = [text.rsplit(": ", 1)[0] for text in capsys.readouterr().out.splitlines()]
    listed = [*("a b.jpg", "b.jpg", "b.png", "clip.avi"), *("a b.jpg", "b.jpg")]
    assert names == [str(folder / name) for name in listed]
    drawn = {path.name for path in (tmp_path / "drawn").iterdir()}
    assert drawn == {"a b.jpg", "b.jpg", "b-2.jpg", "clip.avi", "a b-2.jpg", "b-3.jpg"}
    entries = json.loads((tmp_path / "found.json").read_text())
    assert [e.get("frame") for e in entries] == [None] * 3 + [*range(5)] + [None] * 2
    expected = Detector(edge_model, 0.1)(folder / "b.png")
    assert len(expected) > 3
    entry = entries[2]
    assert (entry["width"], entry["height"]) == (120, 90)
    assert [d["name"] for d in entry["detections"]] == [
        expected.names[i] for i in expected.class_ids.tolist()
    ]
    assert np.abs([d["xyxy"] for d in entry["detections"]] - expected.xyxy).max() < 0.001
    picture, clip = cv2.imread(str(tmp_path / "drawn" / "b.jpg")), tmp_path / "drawn" / "clip.avi"
    assert picture is not None
    assert np.abs(picture.astype(int) - small()).max() > 100
    capture = cv2.VideoCapture(str(clip))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert capture.get(cv2.CAP_PROP_FPS) == 12


def test_results_beside_the_sources_overwrite_no_file(edge_model: Path, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main([str(edge_model), str(folder), "--out", str(folder)]) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert len([*folder.iterdir()]) == len(before) + 4


def test_a_list_of_sources(
    edge_model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Relative to the list's folder, as `yolo predict` reads it."""
    (folder / "list.txt").write_text("a b.jpg\n\n*.png\nclip.avi\n")
    assert main([str(edge_model), str(folder / "list.txt")]) == 0
    names = [line.rsplit(": ", 1)[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [str(folder / name) for name in ("a b.jpg", "b.png", "clip.avi")]


def test_a_runtime_that_fails_stops_one_source_only(
    edge_model: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, fails = InferenceSession.run, iter((True, False))

    def run(*args: Any) -> Any:
        if next(fails):
            raise RuntimeError("Non-zero status code\nreturned")
        return whole(*args)

    monkeypatch.setattr(InferenceSession, "run", run)
    assert main([str(edge_model), str(folder / "a b.jpg"), str(folder / "b.png")]) == 1
    printed = capsys.readouterr()
    assert f"error: {edge_model}: " in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out.startswith(f"{folder / 'b.png'}: ")


def test_a_picture_too_large_for_a_jpeg(tmp_path: Path) -> None:
    album = Album(tmp_path)
    with pytest.raises(OSError, match=r"high\.jpg: "):
        album.save(Source(tmp_path / "high.png"), np.zeros((66000, 1, 3), np.uint8))


def test_a_clip_that_ends_early_says_so(
    edge_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = save_clip(tmp_path / "clip.avi", 40)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    assert main([str(edge_model), str(clip)]) == 0
    assert "frames of 40 announced" in capsys.readouterr().out


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
        return True, small()


def test_camera_until_interrupted(
    edge_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(cv2, "VideoCapture", Camera)
        assert main([str(edge_model), "0", "--json", "found.json", "--out", "drawn"]) == 0
    assert "camera 0: 3 frames" in capsys.readouterr().out
    assert len(json.loads(Path("found.json").read_text())) == 3
    capture = cv2.VideoCapture("drawn/camera-0.avi")
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_interrupted_clip_leaves_a_whole_json(edge_model: Path, tmp_path: Path) -> None:
    clip, found = save_clip(tmp_path / "long.avi", 1500), tmp_path / "found.json"
    # Whoever starts these tests in the background of a script has SIGINT ignored, and a child would
    # inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen([*EDGE, edge_model, clip, "--json", found], stderr=subprocess.PIPE)
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 120
    while not (found.exists() and b"frame" in found.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"stopped" in error
    assert 0 < len(json.loads(found.read_text())) < 1500


def test_a_stream_by_its_url(
    edge_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save_clip(tmp_path / "clip.avi", 4)
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}/clip.avi"
        code = main([str(edge_model), f"http://me:secret@{host}", "--out", "drawn", "--json", "f"])
        server.shutdown()
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert f"http://{host}: 4 frames" in printed.out
    assert "secret" not in printed.out + printed.err + Path("f").read_text()
    (drawn,) = Path("drawn").iterdir()
    assert drawn.name == f"http-127-0-0-1-{server.server_port}-clip-avi.avi"


def test_options_of_predict(edge_model: Path, folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "f.json"
    options = ("--classes", "0", "1", "--max-det", "3", "--agnostic-nms", "--conf", "0.1")
    assert main([str(edge_model), str(folder / "b.png"), "--json", str(report), *options]) == 0
    (entry,) = json.loads(report.read_text())
    expected = Detector(edge_model, 0.1, max_det=3, agnostic=True, classes=[0, 1])
    assert entry["detections"] == expected(folder / "b.png").as_dicts()
    assert 0 < len(entry["detections"]) <= 3


def test_the_list_alone_goes_to_standard_output(edge_model: Path, tmp_path: Path) -> None:
    clip = save_clip(tmp_path / "clip.avi", 3)
    words = (edge_model, PHOTOGRAPHS[0], clip, "missing.jpg", "--json")
    to_file = run(*EDGE, *words, "found.json", cwd=tmp_path, fails=True)
    printed = run(*AFPN, "detect", *words, "-", cwd=tmp_path, fails=True)
    assert (to_file.returncode, printed.returncode) == (1, 1)
    assert printed.stdout == (tmp_path / "found.json").read_text("utf-8")
    assert [entry.get("frame") for entry in json.loads(printed.stdout)] == [None, 0, 1, 2]
    lines = {*to_file.stdout.splitlines(), *to_file.stderr.splitlines()}
    assert {*printed.stderr.splitlines()} == lines
    assert len(lines) == 3
    assert not (tmp_path / "-").exists()


def test_a_reader_of_the_list_that_goes_away(edge_model: Path, tmp_path: Path) -> None:
    """While more entries come than a pipe holds."""
    clip = save_clip(tmp_path / "long.avi", 500)
    words = (*EDGE, edge_model, clip, "--conf", "0.01", "--json", "-")
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(1) == b"["
    process.stdout.close()
    assert (process.wait(120), process.stderr.read()) == (141, b"")
