"""`afpn train-rcnn`: what it leaves, and that a killed training goes on as if it had not been."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from afpn_yolo.cli.__main__ import main
from afpn_yolo.twostage.checkpoint import is_detector, open_detector, read
from afpn_yolo.twostage.config import TrainConfig
from afpn_yolo.twostage.data import digest_of
from afpn_yolo.twostage.data import read as read_data
from afpn_yolo.twostage.detect import detect, evaluate_detector
from afpn_yolo.twostage.train import train
from tests.twostage import small

# As little as makes every part run.
LEAST = (
    *("--resnet", "resnet18", "--trainable-layers", "0", "--detector", "dynamic"),
    *("--epochs", "2"),
    *("--batch", "4", "--min-size", "48", "64", "--max-size", "64", "--warmup", "2"),
    *("--workers", "0", "--device", "cpu", "--crop", "0.7", "--grad-clip", "10"),
    *("--set", "rpn_post_nms_top_n_train=40", "rpn_post_nms_top_n_test=20"),
    *("box_batch_size_per_image=16", "box_detections_per_img=20", "box_score_thresh=0.0"),
)


def words(data: Path, out: Path, *more: str) -> list[str]:
    start = small.backbone_file(data.parent)
    where = ("--project", str(out.parent), "--name", out.name)
    return ["--data", str(data), *where, "--weights", str(start), *LEAST, *more]


def afpn(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        small.use(patch)
        return main(["train-rcnn", *arguments])


def assert_same(*folders: Path) -> None:
    """Two processes may round differently; what was drawn and learned is the same."""
    one, other = (read(folder / "last.pt") for folder in folders)
    assert len(other["lines"]) == 2
    close = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-4, equal_nan=True)
    for key in ("loss", "lr"):
        close([line[key] for line in one["lines"]], [line[key] for line in other["lines"]])
    for part in ("model", "optimizer"):
        close(one[part], other[part])


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small.use(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """The folder of a training that nothing disturbed, with its figures in `record.json`."""
    out = tmp_path_factory.mktemp("rcnn") / "whole"
    out.parent.mkdir(exist_ok=True)
    assert afpn(*words(small_data, out, "--json", str(out.parent / "record.json"))) == 0
    return out


def test_what_a_training_leaves(whole: Path, small_data: Path) -> None:
    record = json.loads((whole.parent / "record.json").read_text())
    with (whole / "results.csv").open(newline="") as file:
        lines = [*csv.DictReader(file)]
    assert [line["epoch"] for line in lines] == ["1", "2"]
    assert all(np.isfinite(float(line["loss"])) for line in lines)
    assert {"loss_classifier", "loss_box_reg", "loss_objectness", "AP", "AP50"} <= set(lines[0])
    assert len(record["curve"]["AP"]) == 2
    assert record["metrics"]["AP"] == record["curve"]["AP"][-1]
    assert record["conditions"]["detector"] == "dynamic"
    assert record["conditions"]["data_digest"] == digest_of(TrainConfig(str(small_data)))
    assert len(record["conditions"]["weights_digest"]) == 64
    versions = {"afpn_yolo", "ultralytics", "torch", "torchvision"}
    assert [set(one) for one in record["trained_with"]] == [versions]
    assert {path.name for path in whole.iterdir()} >= {"last.pt", "best.pt", "results.csv"}


def test_checkpoint_predicts_and_is_evaluated(whole: Path, small_data: Path) -> None:
    model, names = open_detector(whole / "last.pt")
    assert len(names) == 4
    assert not model.training
    data_set = read_data(TrainConfig(str(small_data)), "val", names)
    detections = detect(model, data_set, batch=2)
    assert len(detections)
    assert set(detections[:, 1].astype(int)) <= set(names)
    assert (detections[:, 2:6] >= 0).all()
    assert (detections[:, 2:4] + detections[:, 4:6] <= 160.001).all()  # the original's pixels
    record = json.loads((whole.parent / "record.json").read_text())
    expected = pytest.approx(record["metrics"]["AP"], abs=1e-9)
    assert expected == evaluate_detector(model, data_set, batch=4)[0]["AP"]
    report = whole / "report.json"
    assert main(["evaluate", str(whole / "last.pt"), str(small_data), "--json", str(report)]) == 0
    assert json.loads(report.read_text())["AP"] == expected


def test_of_test_dev_there_is_a_file_for_the_server(small_data: Path, tmp_path: Path) -> None:
    pictures = small_data.parent / "set" / "images" / "val"
    files = sorted(path.name for path in pictures.iterdir())
    content = {
        "images": [{"id": 50 - i, "file_name": name} for i, name in enumerate(files)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}],
    }
    file = tmp_path / "image_info_test-dev2017.json"
    file.write_text(json.dumps(content))
    config = TrainConfig(str(file), str(file), str(pictures), str(pictures))
    data_set = read_data(config, "val", {0: "cat", 1: "dog"})
    model = small.lively(2, min_size=64, max_size=64, box_score_thresh=0.2)
    server = tmp_path / "detections.json"
    assert evaluate_detector(model, data_set, server=server)[0]["AP"] is None
    entries = json.loads(server.read_text())
    assert {entry["image_id"] for entry in entries} <= {50 - i for i in range(len(files))}
    assert {entry["category_id"] for entry in entries} <= {3, 90}
    assert all(len(entry["bbox"]) == 4 and 0.2 < entry["score"] <= 1 for entry in entries)
    assert entries


def test_interrupted_it_goes_on_as_if_it_had_not_been(
    whole: Path, small_data: Path, tmp_path: Path
) -> None:
    """In the middle of its second epoch; test_distributed kills whole processes."""
    out, epochs = tmp_path / "interrupted", iter((1, 2))

    def once(*arguments: Any) -> Any:
        if next(epochs) == 2:
            raise KeyboardInterrupt
        return evaluate_detector(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("afpn_yolo.twostage.train.evaluate_detector", once)
        assert afpn(*words(small_data, out)) == 130
    assert len(read(out / "last.pt")["lines"]) == 1
    assert afpn(*words(small_data, out, "--resume")) == 0
    assert_same(whole, out)
    # A finished training is reported again.
    before = (out / "last.pt").stat().st_mtime_ns
    assert afpn(*words(small_data, out, "--resume", "--json", str(tmp_path / "again.json"))) == 0
    assert json.loads((tmp_path / "again.json").read_text())["metrics"]["AP"] is not None
    assert (out / "last.pt").stat().st_mtime_ns == before
    # Dynamic R-CNN's counts are in the checkpoint, too.
    assert int(read(out / "last.pt")["model"]["roi_heads.iteration"]) == 2 * 2


def test_a_checkpoint_in_the_former_form_is_opened_and_no_other(
    whole: Path, tmp_path: Path
) -> None:
    content = read(whole / "best.pt")
    config = content.pop("conditions")
    kept = ("backbone", "neck", "upsample", "fusion", "p6", "aligned", "options")
    content["design"] = {key: config[key] for key in kept} | {"dynamic": True}
    content["sides"] = {"shorter": config["min_size"], "longest": config["max_size"]}
    torch.save(content, tmp_path / "former.pt")
    model, _ = open_detector(tmp_path / "former.pt")
    assert model.transform.min_size == (48, 64)
    torch.save({"model": torch.zeros(1)}, tmp_path / "other.pt")
    paths = [tmp_path / f"{name}.pt" for name in ("former", "other", "missing")]
    assert [is_detector(path) for path in paths] == [True, False, False]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "--resume"),
        (("--resume", "--seed", "1"), "seed"),
        (("--device", "cuda:99", "--name", "other"), "device cuda:99"),
        (("--weights", "missing.pth", "--name", "other"), "missing.pth"),
        (("--weights", "V9", "--name", "other"), "IMAGENET1K_V1"),
    ],
)
def test_mistakes_are_a_sentence(
    more: tuple[str, ...],
    message: str,
    whole: Path,
    small_data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert afpn(*words(small_data, whole, *more)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_loss_that_is_no_number_ends_the_training(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = torch.load(small.backbone_file(tmp_path))
    tensors["conv1.weight"] *= float("nan")
    torch.save(tensors, tmp_path / "broken.pth")
    arguments = words(small_data, tmp_path / "out", "--weights", str(tmp_path / "broken.pth"))
    assert afpn(*arguments) == 2
    assert "--lr" in capsys.readouterr().err
    assert not (tmp_path / "out" / "last.pt").exists()


def test_several_devices_are_torchruns(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], env: dict[str, str], check: bool) -> Any:
        calls.append((command, env))
        return type("Done", (), {"returncode": 1})

    monkeypatch.setattr("subprocess.run", run)
    config = TrainConfig(str(small_data), fusion="sum")
    with pytest.raises(ValueError, match="exit code 1"):
        train(config, tmp_path, device="0,3")
    ((command, environment),) = calls
    assert "--nproc-per-node=2" in command
    assert environment["CUDA_VISIBLE_DEVICES"] == "0,3"
    job = json.loads(command[-1])
    assert TrainConfig.of(job["config"]) == config
