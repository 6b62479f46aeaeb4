"""`afpn train-rcnn`: what it leaves, and that a killed training goes on as if it had not been."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tqdm import tqdm

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.cli.__main__ import main
from afpn_yolo.twostage import train
from afpn_yolo.twostage.checkpoint import is_detector, open_detector, read
from afpn_yolo.twostage.data import Source
from afpn_yolo.twostage.data import read as read_data
from afpn_yolo.twostage.detect import detect, evaluate_detector
from afpn_yolo.twostage.provenance import provenance, source_digest
from tests.twostage import small

# As little as makes every part run.
LEAST = (
    *("--backbone", "resnet18", "--trainable-layers", "0", "--detector", "dynamic"),
    *("--epochs", "2"),
    *("--batch", "4", "--min-size", "48", "64", "--max-size", "64", "--warmup", "2"),
    *("--workers", "0", "--device", "cpu", "--crop", "0.7", "--clip", "10"),
    *("--set", "rpn_post_nms_top_n_train=40", "rpn_post_nms_top_n_test=20"),
    *("box_batch_size_per_image=16", "box_detections_per_img=20", "box_score_thresh=0.0"),
)


def words(data: Path, out: Path, *more: str) -> list[str]:
    start = small.backbone_file(data.parent)
    return ["--data", str(data), "--out", str(out), "--weights", str(start), *LEAST, *more]


def afpn(*given: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        small.use(patch)
        return main(["train-rcnn", *given])


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small.use(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """The folder of a training that nothing disturbed, with its figures in `told.json`."""
    out = tmp_path_factory.mktemp("rcnn") / "whole"
    out.parent.mkdir(exist_ok=True)
    assert afpn(*words(small_data, out, "--json", str(out.parent / "told.json"))) == 0
    return out


def test_what_a_training_leaves(whole: Path) -> None:
    told = json.loads((whole.parent / "told.json").read_text())
    with (whole / "results.csv").open(newline="") as file:
        lines = [*csv.DictReader(file)]
    assert [line["epoch"] for line in lines] == ["1", "2"]
    assert all(np.isfinite(float(line["loss"])) for line in lines)
    assert {"loss_classifier", "loss_box_reg", "loss_objectness", "AP", "AP50"} <= set(lines[0])
    assert len(told["curve"]) == 2
    assert told["AP"] == told["curve"][-1]
    assert told["conditions"]["design"]["dynamic"] is True
    assert told["parameters"] > 10**7
    assert {path.name for path in whole.iterdir()} >= {"last.pt", "best.pt", "results.csv"}
    assert not [*whole.glob("*.part")]


def test_checkpoint_predicts_and_is_evaluated(whole: Path, small_data: Path) -> None:
    model, names = open_detector(whole / "last.pt")
    assert len(names) == 4
    assert not model.training
    data_set = read_data(Source.named(str(small_data)), "val", names)
    detections = detect(model, data_set, batch=2)
    assert len(detections)
    assert set(detections[:, 1].astype(int)) <= set(names)
    assert (detections[:, 2:6] >= 0).all()
    assert (detections[:, 2:4] + detections[:, 4:6] <= 160.001).all()  # the original's pixels
    told = json.loads((whole.parent / "told.json").read_text())
    metrics = evaluate_detector(model, data_set, batch=4)
    assert pytest.approx(told["AP"], abs=1e-9) == metrics["AP"]
    report = whole / "report.json"
    assert main(["evaluate", str(whole / "last.pt"), str(small_data), "--json", str(report)]) == 0
    assert json.loads(report.read_text())["AP"] == pytest.approx(told["AP"], abs=1e-9)


def test_of_test_dev_there_is_a_file_for_the_server(small_data: Path, tmp_path: Path) -> None:
    pictures = small_data.parent / "set" / "images" / "val"
    files = sorted(path.name for path in pictures.iterdir())
    content = {
        "images": [{"id": 50 - i, "file_name": name} for i, name in enumerate(files)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}],
    }
    file = tmp_path / "image_info_test-dev2017.json"
    file.write_text(json.dumps(content))
    source = Source.named(str(file), str(file), str(pictures), str(pictures))
    data_set = read_data(source, "val", {0: "cat", 1: "dog"})
    model = small.lively(2, min_size=64, max_size=64, box_score_thresh=0.2)
    server = tmp_path / "detections.json"
    assert evaluate_detector(model, data_set)["AP"] is None
    assert evaluate_detector(model, data_set, server=server)["AP"] is None
    entries = json.loads(server.read_text())
    assert {entry["image_id"] for entry in entries} <= {50 - i for i in range(len(files))}
    assert {entry["category_id"] for entry in entries} <= {3, 90}
    assert all(len(entry["bbox"]) == 4 and 0.2 < entry["score"] <= 1 for entry in entries)
    assert entries


def test_killed_it_goes_on_as_if_it_had_not_been(
    whole: Path, small_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    code = f"from tests.twostage.test_train import afpn; afpn(*{words(small_data, out)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    try:
        while not (out / "last.pt").exists():
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = len(read(out / "last.pt")["lines"])
    assert done < 2
    assert afpn(*words(small_data, out, "--resume")) == 0
    one, other = (read(folder / "last.pt") for folder in (whole, out))
    assert len(other["lines"]) == 2
    # Two processes may round differently; what was drawn and learned is the same.
    close = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-4, equal_nan=True)
    for key in ("loss", "lr"):
        close([line[key] for line in one["lines"]], [line[key] for line in other["lines"]])
    for part in ("model", "optimizer"):
        close(one[part], other[part])
    assert int(one["model"]["roi_heads.iteration"]) == 2 * 2


def test_what_a_training_says_on_a_small_machine(
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    """No warning of too many workers; a bar that is one; a line an epoch; all files."""
    screen = io.StringIO()

    def shown(items: Iterable[Any], title: str, **_: Any) -> Any:
        return tqdm(items, title, file=screen, ncols=80, mininterval=0)

    monkeypatch.setattr(train, "tqdm", shown)
    assert afpn(*words(small_data, tmp_path / "rcnn", "--epochs", "1", "--workers", "64")) == 0
    assert not [str(warning.message) for warning in recwarn if "worker" in str(warning.message)]
    *_, last = screen.getvalue().strip().split("\r")
    assert re.search(r"\|[^|]{15,}\| \d+/\d+ .*loss=\d+\.\d{3}\]", last), last
    said = capsys.readouterr()
    assert re.search(r"^epoch 1/1: loss \d+\.\d{3}, AP \d+\.\d, \d+ s of training$", said.err, re.M)
    files = ["last.pt", "best.pt (epoch 1 of 1)", "results.csv"]
    assert said.out.splitlines()[-3:] == [str(tmp_path / "rcnn" / name) for name in files]


def test_data_that_have_changed_since(
    whole: Path, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = read(whole / "last.pt")["made"]
    assert made["data_digest"] == source_digest(Source.named(str(small_data)))
    assert [set(one) for one in made["trained_with"]] == [
        {"afpn_yolo", "ultralytics", "torch", "torchvision"}
    ]
    assert json.loads((whole.parent / "told.json").read_text())["trained_with"]
    out = tmp_path / "earlier"
    out.mkdir()
    content = read(whole / "last.pt")
    torch.save(content | {"made": made | {"data_digest": "ab" * 32}}, out / "last.pt")
    assert afpn(*words(small_data, out, "--resume")) == 2
    assert "(images or labels have changed since)" in capsys.readouterr().err
    # Of before the digest was kept: it goes on, and does not claim what nobody knows.
    assert provenance("ab" * 32, {})["data_digest"] is None
    assert provenance("ab" * 32, {})["trained_with"][0]["torch"] == "unknown"
    assert provenance("ab" * 32, made) == made


def test_the_digest_of_a_json(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"123")
    content: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 2, 2]}],
    }
    file = tmp_path / "my.json"
    source = Source.named(str(file), str(file))

    def digest() -> str:
        file.write_text(json.dumps(content))
        return source_digest(source)

    found = [digest()]
    assert digest() == found[0]
    content["annotations"][0]["bbox"] = [0, 0, 2, 3]
    found.append(digest())
    picture.write_bytes(b"1234")
    found.append(digest())
    assert len({*found}) == 3
    picture.unlink()
    with pytest.raises(EvaluationError, match="its images"):
        digest()


def test_a_finished_one_is_reported_again(
    whole: Path, small_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (whole / "last.pt").stat().st_mtime_ns
    assert afpn(*words(small_data, whole, "--resume", "--json", "-")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["AP"] == json.loads((whole.parent / "told.json").read_text())["AP"]
    assert (whole / "last.pt").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "holds a training: go on with --resume, or choose another --out"),
        (("--resume", "--seed", "1"), "under other conditions (seed: 0 there, 1 here)"),
        (("--set", "anchors=3"), "torchvision's FasterRCNN has no such argument"),
        (("--set", "box_nms_thresh"), "expected NAME=VALUE"),
        (("--lr", "1e30", "--out", "other"), "lr must be from 0 to 10"),
        (("--device", "cuda:99", "--out", "other"), "device cuda:99"),
        (("--weights", "missing.pth", "--out", "other"), "missing.pth"),
        (("--weights", "V9", "--out", "other"), "choose one of IMAGENET1K_V1, none, or a file"),
        (("--backbone", "resnet7", "--out", "other"), "backbone 'resnet7': choose one of"),
    ],
)
def test_mistakes_are_a_sentence(
    more: tuple[str, ...],
    message: str,
    whole: Path,
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("other") if more[:1] == ("--set",) else whole
    assert afpn(*words(small_data, out, *more)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_loss_that_is_no_number_ends_the_training(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = torch.load(small.backbone_file(tmp_path))
    tensors["conv1.weight"] *= float("nan")
    torch.save(tensors, tmp_path / "broken.pth")
    given = words(small_data, tmp_path / "out", "--weights", str(tmp_path / "broken.pth"))
    assert afpn(*given) == 2
    error = capsys.readouterr().err
    assert re.search(r"the loss is nan at a learning rate of .*: try a lower --lr", error)
    assert not (tmp_path / "out" / "last.pt").exists()


def test_only_these_checkpoints_are_opened(whole: Path, tmp_path: Path) -> None:
    assert is_detector(whole / "best.pt")
    other = tmp_path / "other.pt"
    torch.save({"model": torch.zeros(1)}, other)
    for path in (other, tmp_path / "missing.pt"):
        assert not is_detector(path)
    with pytest.raises(ValueError, match="no checkpoint of a two-stage detector"):
        open_detector(other)
