"""Quantisation of an exported detector: what stays in float, what it finds, what is refused."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnxruntime.quantization import quantize_static
from ultralytics import YOLO

from afpn_yolo.deploy import quantize
from afpn_yolo.deploy.quantize import calibration_images, decoding, matching
from afpn_yolo.edge import Detector
from tests.lively import PHOTOGRAPHS, export, photograph
from tests.processes import afpn


@pytest.fixture(scope="module")
def model(lively: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Path(shutil.copy(lively, tmp_path_factory.mktemp("float"))), "imgsz=160")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of two photographs, of several sizes."""
    folder = tmp_path_factory.mktemp("photographs")
    g = np.random.default_rng(0)
    for i in range(12):
        whole = photograph(PHOTOGRAPHS[i % 2], 400, 400)
        height, width = g.integers(150, 300, 2)
        cv2.imwrite(str(folder / f"{i:02d}.png"), whole[:height, :width])
    return folder


@pytest.fixture(scope="module")
def small(model: Path, photographs: Path) -> Path:
    # Weights of 7 bits: on an x86 cpu without VNNI those of 8 overflow, and what comes out
    # would be of the machine that the tests run on.
    options = ("--repeats", "2", "--reduce-range")
    assert "VNNI" not in afpn("quantize", model, photographs, *options, cwd=model.parent).stderr
    return model.with_name(f"{model.stem}-int8.onnx")


def in_integers(path: Path) -> set[str]:
    """Names of the convolutions whose weights are 8-bit integers."""
    graph = onnx.load(path).graph
    dequantised = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    return {n.name for n in graph.node if n.op_type == "Conv" and n.input[1] in dequantised}


def test_all_but_the_end_of_the_head_is_quantised_by_channel(model: Path, small: Path) -> None:
    before, after = onnx.load(model), onnx.load(small)
    every = {n.name for n in before.graph.node if n.op_type == "Conv"}
    ends = {f"/model.29/cv{b}.{i}/cv{b}.{i}.2/Conv" for b in (2, 3) for i in range(3)}
    assert every - in_integers(small) == ends | {"/model.29/dfl/conv/Conv"}
    assert small.stat().st_size < 0.35 * model.stat().st_size
    values = {t.name: t for t in after.graph.initializer}
    kernels = 0
    for node in after.graph.node:
        weights = values.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weights is not None and len(weights.dims) == 4:
            assert weights.data_type == onnx.TensorProto.INT8
            assert [*values[node.input[1]].dims] == [weights.dims[0]]
            kernels += 1
    assert kernels > 100
    assert [*after.metadata_props] == [*before.metadata_props]
    assert [*after.graph.input] == [*before.graph.input]
    assert [*after.graph.output] == [*before.graph.output]
    onnx.checker.check_model(after)


def raw(path: Path, image: np.ndarray) -> np.ndarray:
    """What the network says, (4 + classes, anchors)."""
    from afpn_yolo.edge.model import Model

    blob = image[None, ..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    output: np.ndarray = Model(path).run(np.ascontiguousarray(blob))[0][0]
    return output


def test_it_says_nearly_what_the_float_model_says(model: Path, small: Path) -> None:
    floats, scores = [], []
    for path in PHOTOGRAPHS:
        image = photograph(path, 160, 160)
        before, after = raw(model, image), raw(small, image)
        assert not np.array_equal(before, after)
        assert np.abs(before[:4] - after[:4]).mean() < 2  # pixels
        assert np.abs(before[4:] - after[4:]).mean() < 0.03
        assert np.corrcoef(before[4:].ravel(), after[4:].ravel())[0, 1] > 0.7  # a random network's
        floats.append(before[4:])
        scores.append(after[4:])
    # It tells two photographs apart about as far as the float model does.
    apart = np.abs(floats[0] - floats[1]).max()
    assert np.abs(scores[0] - scores[1]).max() > 0.4 * apart > 0.02


def test_ultralytics_and_edge_find_the_same_with_it(small: Path) -> None:
    image = photograph(PHOTOGRAPHS[0], 160, 160)
    options: dict[str, Any] = {"imgsz": 160, "conf": 0.1, "iou": 0.5, "verbose": False}
    expected = YOLO(small, task="detect")(image, **options)[0]
    found = Detector(small, 0.1, 0.5)(image)
    assert len(found) == len(expected.boxes) > 5
    assert np.abs(found.xyxy - expected.boxes.xyxy.numpy()).max() < 0.5
    assert expected.names == found.names == YOLO(small, task="detect").names


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("cpu : 0\nflags\t\t: fpu avx2 fma\n", True),
        ("flags : fpu avx2 avx_vnni\n", False),
        ("cpu : 0\nFeatures : fp asimd asimddp\n", False),  # ARM
        (None, False),  # no Linux
    ],
)
def test_processors_on_which_8_bits_overflow(
    cpuinfo: str | None, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "CPUINFO", tmp_path / "cpuinfo")
    if cpuinfo:
        quantize.CPUINFO.write_text(cpuinfo)
    assert quantize.overflows() == expected


def test_more_stays_in_float_where_that_is_asked_for(
    model: Path, small: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "CPUINFO", model.with_name("cpuinfo"))
    quantize.CPUINFO.write_text("flags : avx2")
    out = model.with_name("more.onnx")
    keep = ("--keep", "/model.0/*", "/model.*/weights/*", "--repeats", "0")
    result = afpn("quantize", model, photographs, "--output", out, *keep, cwd=model.parent)
    lost = in_integers(small) - in_integers(out)
    assert Counter(name.split("/")[2] for name in lost) == {"conv": 1, "weights": 10}
    (line,) = (line for line in result.stderr.splitlines() if "VNNI" in line)
    assert line.startswith("warning: ")
    assert "--reduce-range" in line


def test_dynamic_size_and_a_data_yaml(best: Path, small_data: Path, tmp_path: Path) -> None:
    model = export(Path(shutil.copy(best, tmp_path)), "imgsz=160", "dynamic=True")
    kept = decoding(onnx.load(model).graph)
    convolutions = [n for n in onnx.load(model).graph.node if n.op_type == "Conv"]
    assert sum(n.name in kept for n in convolutions) == 7  # no feature whose size is asked for
    result = afpn("quantize", model, small_data, "--count", "5", "--repeats", "3", cwd=tmp_path)
    assert "calibrated on 5 images" in result.stdout
    assert result.stdout.count("of float") == 2  # both are timed
    image = photograph(PHOTOGRAPHS[0], 96, 64)
    assert raw(tmp_path / "best-int8.onnx", image).shape[1] == 12 * 8 + 6 * 4 + 3 * 2


def test_a_fixed_batch_is_filled(best: Path, photographs: Path, tmp_path: Path) -> None:
    model = export(Path(shutil.copy(best, tmp_path)), "imgsz=64", "batch=8")
    afpn("quantize", model, photographs, "--repeats", "1", cwd=tmp_path)
    shape = onnx.load(tmp_path / "best-int8.onnx").graph.input[0].type.tensor_type.shape
    assert [size.dim_value for size in shape.dim] == [8, 3, 64, 64]


def test_images_are_chosen_evenly(small_data: Path) -> None:
    train, val = (calibration_images(str(small_data), split, 99) for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 4)
    assert calibration_images(str(small_data), "train", 3) == [train[i] for i in (0, 2, 5)]


def test_a_stock_model_has_its_end_in_float(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = YOLO("yolov5n.yaml").export(format="onnx", imgsz=64, verbose=False)
    graph = onnx.load(path).graph
    names = decoding(graph)
    assert sum(n.op_type == "Conv" and n.name in names for n in graph.node) == 7
    assert all(name.startswith("/model.24/") for name in names)
    assert matching(graph, ["/model.24/cv2*"]) > {n for n in names if "/cv2" in n}
    # As a shell of Windows hands it over.
    assert matching(graph, ["'\\model.24\\cv2*'"]) == matching(graph, ["/model.24/cv2*"])


def test_half_precision_inside_is_refused(lively: Path, photographs: Path, tmp_path: Path) -> None:
    """On a CPU, `half=True` exports float32 in and out, and half precision between."""
    checkpoint = shutil.copy(lively, tmp_path)
    path = Path(YOLO(checkpoint).export(format="onnx", imgsz=64, half=True, verbose=False))
    assert onnx.load(path).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    refused(path, photographs, "computes in half precision")


def test_what_was_written_is_opened(
    model: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ONNX Runtime's tools make of a model: a file it can't open is no success."""
    made = quantize_static

    def spoilt(source: str, target: str, *args: Any, **kwargs: Any) -> None:
        made(source, target, *args, **kwargs)
        broken = onnx.load(target)
        broken.graph.node[5].input[0] = "nowhere"
        onnx.save(broken, target)

    monkeypatch.setattr(quantize, "quantize_static", spoilt)
    refused(model, photographs, "nothing is written", "--output", "spoilt.onnx")


def test_mistakes_write_nothing(
    model: Path, small: Path, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "foreign.onnx").write_bytes(b"no model")
    (tmp_path / "void").mkdir()
    refused(model, photographs, "matches no node", "--keep", "/none/*")
    refused(model, photographs, "at least 1", "--count", "0")
    refused(model, photographs, "must end in", "--output", "x.bin")
    refused(model, photographs, "choose another", "--output", "lively.onnx")
    refused(small, photographs, "quantised already", "--output", "again.onnx")
    refused(tmp_path / "none.onnx", photographs, "no such file")
    refused(tmp_path / "foreign.onnx", photographs, "can't open it")
    refused(model, tmp_path / "none", "no such file")
    refused(model, tmp_path / "void", "without images")


def refused(model: Path, data: Path, message: str, *options: str) -> None:
    before = sorted(model.parent.iterdir())
    result = afpn("quantize", model, data, *options, cwd=model.parent, fails=True)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(model.parent.iterdir()) == before
