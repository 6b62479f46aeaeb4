"""`afpn_yolo.edge` gives the detections of Ultralytics' predict, from the same exported file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from ultralytics import YOLO

from afpn_yolo.edge import Detections, Detector
from afpn_yolo.edge.__main__ import main
from afpn_yolo.edge.postprocess import suppress
from tests.lively import PHOTOGRAPHS, export, lively_named, photograph
from tests.processes import python

PIXELS, SCORES, RADIANS = 0.5, 1e-3, 1e-3
CONF, IOU = 0.1, 0.5
# Height, width. Among them: the exported size; one pixel high; one where Ultralytics' scale for
# the boxes is not quite that of its letterbox, if the size is dynamic (1000 x 803).
SHAPES = ((160, 160), (120, 301), (333, 97), (1, 200), (1000, 803))
Exported = Callable[..., Path]
PLAIN = "simplify=False"  # most of an export's time goes into onnxslim
NMS = ("nms=True", f"conf={CONF}", f"iou={IOU}")
END2END = "nms=False"  # Ultralytics' word for: with the head that gives no doubles


@pytest.fixture(scope="module")
def exported(lively: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The lively model as ONNX, once for every set of options."""
    made: dict[tuple[str, ...], Path] = {}

    def make(*options: str) -> Path:
        if options not in made:
            folder = tmp_path_factory.mktemp("onnx")
            made[options] = export(Path(shutil.copy(lively, folder)), *options)
        return made[options]

    return make


def assert_same(found: Detections, expected: np.ndarray) -> None:
    """Compare with rows of Ultralytics (N, 6 or 7): box or rotated box, score, class; in order."""
    assert len(found) == len(expected)
    boxes = found.xyxy if found.xywhr is None else found.xywhr
    assert boxes.shape == (len(expected), expected.shape[1] - 2)
    assert boxes.dtype == np.float32
    apart = np.abs(boxes - expected[:, :-2])
    assert apart[:, :4].max(initial=0) <= PIXELS
    assert apart[:, 4:].max(initial=0) <= RADIANS
    assert np.abs(found.scores - expected[:, -2]).max(initial=0) <= SCORES
    assert (found.class_ids == expected[:, -1]).all()


def assert_agrees(path: Path, sizes: tuple[Any, ...] = (None,), agnostic: bool = False) -> None:
    """On photographs of all shapes, at every size that is given as `imgsz`."""
    metadata = {p.key: p.value for p in onnx.load(path).metadata_props}
    model, boxes, classes = YOLO(path, task=metadata["task"]), 0, set()
    for size in sizes:
        detector = Detector(path, CONF, IOU, agnostic=agnostic, imgsz=size)
        options = {"conf": CONF, "iou": IOU, "agnostic_nms": agnostic, "imgsz": detector.imgsz}
        for i, shape in enumerate(SHAPES):
            image = photograph(PHOTOGRAPHS[i % 2], *shape)
            (result,) = model.predict(image, verbose=False, **options)
            found = detector(image)
            assert_same(found, (result.boxes if result.obb is None else result.obb).data.numpy())
            if result.obb is not None:
                assert np.abs(found.xyxy - result.obb.xyxy.numpy()).max(initial=0) <= PIXELS
            boxes += len(found)
            classes |= set(found.class_ids.tolist())
    assert boxes > 20  # agreeing on nothing would prove nothing
    assert len(classes) > 1


@pytest.mark.parametrize(
    ("options", "sizes", "agnostic"),
    [
        (("imgsz=160",), (None,), False),
        (("imgsz=160",), (None,), True),
        (("imgsz=[96,160]", PLAIN), (None,), False),
        (("imgsz=160", "dynamic=True"), (None, 224, [96, 160]), False),
        (("imgsz=160", *NMS), (None,), False),
    ],
)
def test_boxes_are_those_of_predict(
    exported: Exported, options: tuple[str, ...], sizes: tuple[Any, ...], agnostic: bool
) -> None:
    assert_agrees(exported(*options), sizes, agnostic)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("yolo11n-afpn-lite-seg.yaml", ()),
        ("yolo11n-afpn-lite-seg.yaml", NMS),
        ("yolov8n-afpn-pose.yaml", ("dynamic=True", PLAIN)),
        ("yolo11n-afpn-lite-obb.yaml", (PLAIN,)),
        ("yolo26n-afpn-lite.yaml", (END2END,)),
        ("yolo26n-afpn-lite.yaml", (PLAIN,)),
        ("yolo26n-afpn-lite-seg.yaml", (END2END, PLAIN)),
        ("yolo26n-afpn-obb.yaml", (END2END, PLAIN)),
        ("yolov10n-afpn.yaml", (END2END, PLAIN)),
    ],
)
def test_every_task_and_head(
    name: str, options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export(lively_named(name, tmp_path), "imgsz=96", *options)
    metadata = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert (metadata["end2end"] == "True") == (END2END in options)
    assert_agrees(path)
    words = (str(path), str(PHOTOGRAPHS[0]), "--conf", str(CONF), "--json", str(tmp_path / "f"))
    assert main([*words]) == 0
    unread = {"segment": "masks", "pose": "keypoints"}.get(metadata["task"], "")
    assert (f"only its boxes are read, not its {unread}" in capsys.readouterr().err) == bool(unread)
    (entry,) = json.loads((tmp_path / "f").read_text())
    keys = {"class_id", "name", "score", "xyxy"} | ({"xywhr"} if "-obb" in name else set())
    assert {frozenset(each) for each in entry["detections"]} == {frozenset(keys)}


def test_half_precision_input(exported: Exported, tmp_path: Path) -> None:
    model = onnx.load(exported("imgsz=160"))
    image = model.graph.input[0]
    image.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    cast = onnx.helper.make_node("Cast", [image.name], ["single"], to=onnx.TensorProto.FLOAT)
    for node in model.graph.node:
        node.input[:] = ["single" if name == image.name else name for name in node.input]
    model.graph.node.insert(0, cast)
    path = tmp_path / "half.onnx"
    onnx.save(model, path)
    assert_agrees(path)


@pytest.mark.parametrize(
    "options",
    [("dynamic=True",), ("batch=2", PLAIN), ("dynamic=True", "batch=3")],
)
def test_list_is_one_by_one(exported: Exported, tmp_path: Path, options: tuple[str, ...]) -> None:
    detector = Detector(exported("imgsz=160", *options), CONF)
    shapes = [(160, 160), (90, 160), (90, 160), (90, 160), (90, 160), (200, 70)]
    images: list[Any] = [photograph(PHOTOGRAPHS[i % 2], *s) for i, s in enumerate(shapes)]
    file = tmp_path / "in a file.png"
    cv2.imwrite(str(file), images[2])
    answers = detector([*images[:2], str(file), file, *images[4:]])
    assert len(answers) == len(images)
    images[3] = images[2]
    for answer, image in zip(answers, images, strict=True):
        alone = detector(image)
        assert_same(answer, np.column_stack((alone.xyxy, alone.scores, alone.class_ids)))
    assert detector([]) == []


@pytest.mark.parametrize("embedded", [(), NMS])
def test_only_some_classes(exported: Exported, embedded: tuple[str, ...]) -> None:
    path = exported("imgsz=160", *embedded)
    model, image = YOLO(path, task="detect"), photograph(PHOTOGRAPHS[0], 160, 160)
    present = np.unique(Detector(path, CONF, IOU)(image).class_ids).tolist()
    assert len(present) > 1
    for classes, most in ((present[:1], 300), (present[-1], 300), (present, 4), ([], 300)):
        found = Detector(path, CONF, IOU, max_det=most, classes=classes)(image)
        options: dict[str, Any] = {"conf": CONF, "iou": IOU, "max_det": most, "classes": classes}
        expected = model.predict(image, imgsz=160, verbose=False, **options)[0].boxes.data.numpy()
        assert_same(found, expected)
        assert bool(len(found)) == (classes != [])


def test_options_of_a_call(exported: Exported) -> None:
    image = photograph(PHOTOGRAPHS[0], 160, 160)
    path = exported("imgsz=160")
    detector = Detector(path, 0.5, 0.3)
    detector.conf, detector.iou = CONF, IOU
    found = detector(image)
    assert str(found) == str(Detector(path, CONF, IOU)(image))
    assert len(Detector(path, 0.5)(image)) < len(found)
    assert len(Detector(path, CONF, IOU, max_det=7)(image)) == 7
    assert len(Detector(path, 1)(image)) == 0


def naive(boxes: np.ndarray, scores: np.ndarray, iou: float, limit: int) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        for k in kept:
            wide, tall = (
                max(min(boxes[i][s + 2], boxes[k][s + 2]) - max(boxes[i][s], boxes[k][s]), 0)
                for s in (0, 1)
            )
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (boxes[i], boxes[k])]
            union = sum(areas) - wide * tall
            if union > 0 and wide * tall / union > iou:
                break
        else:
            kept.append(i)
    return kept[:limit]


@pytest.mark.parametrize("limit", [10, 300])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 400])
def test_suppression_against_a_loop(count: int, limit: int) -> None:
    rng = np.random.default_rng(count)
    corner = rng.integers(0, 40, (count, 2))
    sides = rng.integers(0, 30, (count, 2))  # some have no area
    boxes = np.asarray(np.hstack((corner, corner + sides)), np.float32)
    scores = np.asarray(rng.integers(0, 50, count) / 50, np.float32)  # with ties
    assert suppress(boxes, scores, 0.45, limit).tolist() == naive(boxes, scores, 0.45, limit)


def test_overlap_that_is_the_threshold() -> None:
    """In single precision 3 / 5 is above the double 0.6, with which torchvision compares."""
    boxes = np.array([[0, 0, 5, 1], [0, 0, 3, 1], [9, 0, 13, 1], [9, 0, 12, 1]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert suppress(boxes, scores, 0.6, 9).tolist() == [0, 2]
    assert suppress(boxes, scores, 0.75, 9).tolist() == [0, 1, 2, 3]


def test_drawing() -> None:
    image = np.full((120, 160, 3), 90, np.uint8)
    boxes = np.array([[20, 40, 80, 100], [100, -5, 170, 130]], np.float32)
    numbers = np.array([0, 7])
    found = Detections(boxes, np.array([0.9, 0.5], np.float32), numbers, {0: "cell"})
    picture = found.draw(image)
    assert (image == 90).all()
    assert picture.shape == image.shape
    assert (picture[70, 20] != 90).any()  # an edge of the first box
    assert (picture[30:40, 20:60] != 90).any()  # its label, above
    assert (picture[60:90, 40:70] == 90).all()  # its inside
    assert (picture[110, 30] == 90).all()
    assert (picture[70, 20] != picture[70, 100]).any()  # colours of two classes
    assert str(found) == "1 cell, 1 7"


def test_neither_torch_nor_ultralytics(exported: Exported, tmp_path: Path) -> None:
    code = f"""
import sys
from afpn_yolo.edge import Detector
from afpn_yolo.edge.__main__ import main
assert len(Detector({str(exported("imgsz=160"))!r}, {CONF})({str(PHOTOGRAPHS[0])!r})) > 0
assert not main([{str(exported("imgsz=160"))!r}, {str(PHOTOGRAPHS[0])!r}, "--out", "drawn"])
assert "torch" not in sys.modules and "ultralytics" not in sys.modules
print(sorted(m for m in sys.modules if m.startswith("afpn_yolo") and ".edge" not in m))
"""
    output = python(code, tmp_path)
    assert "['afpn_yolo', 'afpn_yolo.plugin', 'afpn_yolo.plugin.startup']" in output
