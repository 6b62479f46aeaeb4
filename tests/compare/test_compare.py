"""Comparisons of necks that are carried out: interrupted, failing, with a backbone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ultralytics import YOLO as Model
from ultralytics.utils import YAML

from afpn_yolo.compare.plan import Candidate
from afpn_yolo.compare.results import Results
from afpn_yolo.compare.runner import Comparison
from afpn_yolo.compare.yolo import YoloRuns
from afpn_yolo.evaluation.fingerprint import data_digest, tensor_digest
from afpn_yolo.plugin.lookup import shipped
from afpn_yolo.upstream.models import build_model, read_model_yaml, read_tensors
from afpn_yolo.upstream.train import spread_evenly
from tests.compare.test_plan import record, result
from tests.processes import AFPN, afpn


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tensors of a whole model in an .npz; the comparison may take rows 0 to 9 only."""
    path = tmp_path_factory.mktemp("weights") / "whole.npz"
    torch.manual_seed(3)
    tensors = Model("yolov5s.yaml").model.state_dict()
    np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    return path


def words(data: Path, *more: str | Path) -> tuple[str | Path, ...]:
    shape = ("--epochs", "2", "--imgsz", "64", "--batch", "4", "--workers", "0", "--device", "cpu")
    return ("compare", "--data", data, *shape, *more)


def test_compare(small_data: Path, backbone: Path, tmp_path: Path) -> None:
    """Killed in the first run, started again: every run once, the curve whole.

    Under settings that both necks must take: sizes that change, rectangles, and half of the images.
    Ultralytics reads no scale from `own5s.yaml`: what was named must be what was built.
    """
    YAML.save(tmp_path / "own5.yaml", YAML.load(shipped("models", "yolov5-afpn.yaml")))
    settings = ("lr0=0.0", "optimizer=SGD", "rect=True", "multi_scale=0.5", "fraction=0.5")
    necks = ("PAFPN=yolov5.yaml", "own=own5.yaml", "--scales", "s", "--backbone", backbone)
    command = words(small_data, *necks, "--set", *settings)
    first = tmp_path / "runs" / "compare" / "small" / "PAFPN-s-seed0"
    process = subprocess.Popen(
        [str(word) for word in (*AFPN, *command)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not (first / "weights" / "last.pt").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    afpn(*command, cwd=tmp_path)
    result = json.loads((tmp_path / "results" / "small.json").read_text())
    assert [r["run"] for r in result["runs"]] == ["PAFPN-s-seed0", "own-s-seed0"]
    assert [len(r["curve"]["AP"]) for r in result["runs"]] == [2, 2]
    expected = build_model("yolov5-afpn.yaml", "s", 4)  # not n, which comes first in the file
    assert result["runs"][1]["parameters"] == sum(p.numel() for p in expected.parameters())
    assert {p.name for p in (tmp_path / "results").glob("small*")} == {
        "small.json",
        "small.md",
        "small.html",
        "small-curves.png",
    }
    # With a learning rate of zero the weights are as they started.
    whole = {k: v for k, v in np.load(backbone).items() if k.endswith("conv.weight")}
    for row in result["runs"]:
        last = first.with_name(row["run"]) / "weights" / "last.pt"
        weights = {k: v.float().numpy() for k, v in Model(last).model.state_dict().items()}
        same = {
            int(key.split(".")[1])
            for key, value in whole.items()
            if ".dfl." not in key  # a constant
            and weights.get(key, value[:0]).shape == value.shape
            and np.allclose(weights[key], value, atol=1e-3)
        }
        assert same == set(range(10))

    times = {path: path.stat().st_mtime_ns for path in first.parent.rglob("last.pt")}
    assert "| own-s | 1 |" in afpn(*command, cwd=tmp_path).stdout
    assert {path: path.stat().st_mtime_ns for path in first.parent.rglob("last.pt")} == times

    # What was trained on is a part of the set.
    assert YAML.load(first / "args.yaml")["data"] == str((first / "part.yaml").resolve())


def comparison(data: Path, folder: Path, necks: Sequence[Candidate], **more: Any) -> Comparison:
    name = more.pop("name", "x")
    yolo = YoloRuns(necks, str(data), 3, 64, 4, **more)
    return Comparison(name, folder / "results", folder / "runs" / name, yolo.plan([0]), yolo)


def keep_first(first: Comparison) -> None:
    """As if its first run had been done."""
    run = first.runs[0]
    done: Any = record(run.neck, 0, 0.5, [0.5]) | {"conditions": run.conditions}
    first.add(done)


NECKS = [Candidate("PAFPN", "yolov5.yaml", "n")]


def test_the_digest_of_a_backbone_is_a_condition(
    backbone: Path, small_data: Path, tmp_path: Path
) -> None:
    at_s = [Candidate("PAFPN", "yolov5.yaml", "s")]
    first = comparison(small_data, tmp_path, at_s, backbones={"s": backbone})
    weights = {k: v for k, v in read_tensors(backbone).items() if int(k.split(".")[1]) < 10}
    assert first.runs[0].conditions["backbone"] == {"s": tensor_digest(weights)}
    keep_first(first)
    np.savez(tmp_path / "b.npz", **{name: array + 1 for name, array in np.load(backbone).items()})
    other = comparison(small_data, tmp_path, at_s, backbones={"s": tmp_path / "b.npz"})
    with pytest.raises(ValueError, match="backbone"):
        other.check()


def test_a_backbone_of_another_scale(small_data: Path, backbone: Path, tmp_path: Path) -> None:
    output = afpn(*words(small_data, "--backbone", backbone), cwd=tmp_path, fails=True)
    assert output.returncode == 2
    assert "model.0.conv.weight has the shape (32, 3, 6, 6), (16, 3, 6, 6)" in output.stderr
    assert not list(tmp_path.rglob("*.pt"))


def test_a_checkpoint_is_told_apart_by_its_tensors(small_data: Path, tmp_path: Path) -> None:
    start = [Candidate("start", str(tmp_path / "start.pt"))]
    model = Model("yolov5n.yaml")
    model.save(start[0].model)
    keep_first(comparison(small_data, tmp_path, start))
    model.save(start[0].model)  # at another date
    assert not comparison(small_data, tmp_path, start).check()
    Model("yolov5n.yaml").save(start[0].model)
    with pytest.raises(ValueError, match="another model"):
        comparison(small_data, tmp_path, start).check()


def test_a_yaml_is_told_apart_by_what_it_builds(small_data: Path, tmp_path: Path) -> None:
    """Another neck in a file of the same name must not share a row with the first."""
    yaml = tmp_path / "mine.yaml"
    mine = [Candidate("mine", str(yaml), "n")]
    text = Path(shipped("models", "yolov5-afpn.yaml") or "").read_text("utf-8")
    yaml.write_text(text, "utf-8")
    keep_first(comparison(small_data, tmp_path, mine))
    yaml.write_text(f"# Only a comment.\n{text.replace('nc: 80', 'nc: 4')}", "utf-8")
    assert not comparison(small_data, tmp_path, mine).check()
    for other in (text.replace("AFPNFusion", "AFPNSum"), f"{text}activation: nn.ReLU()\n"):
        yaml.write_text(other, "utf-8")
        with pytest.raises(ValueError, match="another model"):
            comparison(small_data, tmp_path, mine).check()


def test_a_part_of_a_set_has_images_of_all_of_it(small_data: Path, tmp_path: Path) -> None:
    """Ultralytics' own fraction= takes the first by name, which may be of one class only."""
    every = sorted((Path(YAML.load(small_data)["path"]) / "images" / "train").iterdir())
    for fraction, step in ((0.5, 2), (2, 4), (0.01, 8)):
        part = YAML.load(spread_evenly(str(small_data), fraction, tmp_path / "part.yaml"))
        assert Path(part["train"]).read_text().splitlines() == [str(i) for i in every[::step]]


def test_a_set_is_the_same_wherever_it_lies(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named from where one stands, by its whole path, copied, and by lists through a link.

    Ultralytics resolves links of folders, and leaves those in a list as they are.
    """
    digests = set()
    for place in ("here", "there/deeper"):
        root = Path(shutil.copytree(YAML.load(small_data)["path"], tmp_path / place / "set"))
        monkeypatch.chdir(root.parent)
        for name in ("set/data.yaml", root / "data.yaml"):
            digests.add(data_digest(str(name), ("train", "val")))
    assert len(digests) == 1
    link = tmp_path / "link"
    link.symlink_to(root)
    digests = set()
    for start in (root, link):
        for split in ("train", "val"):
            images = sorted((start / "images" / split).iterdir())
            (root / f"{split}.txt").write_text("\n".join(map(str, images)), "utf-8")
        splits = {"path": str(start), "train": "train.txt", "val": "val.txt"}
        YAML.save(root / "lists.yaml", YAML.load(small_data) | splits)
        digests.add(data_digest(str(root / "lists.yaml"), ("train", "val")))
    assert len(digests) == 1


@pytest.mark.parametrize("change", ["label", "image", "removed", "background"])
def test_data_that_have_changed_since(change: str, small_data: Path, tmp_path: Path) -> None:
    root, yaml = tmp_path / "set", tmp_path / "own.yaml"
    shutil.copytree(YAML.load(small_data)["path"], root)
    YAML.save(yaml, YAML.load(small_data) | {"path": str(root)})
    keep_first(comparison(yaml, tmp_path, NECKS))
    assert not comparison(yaml, tmp_path, NECKS).check()
    image = min((root / "images" / "train").iterdir())
    label = root / "labels" / "train" / f"{image.stem}.txt"
    changes: dict[str, Callable[[], object]] = {
        "label": lambda: label.write_text(label.read_text().replace("0.", ".0", 1)),
        "image": lambda: shutil.copy(image, image.with_name(f"more{image.suffix}")),
        "removed": image.unlink,
        "background": label.unlink,
    }
    changes[change]()
    with pytest.raises(ValueError, match="labels have changed"):
        comparison(yaml, tmp_path, NECKS).check()
    comparison(yaml, tmp_path, NECKS, name="another").check()


def do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the command come to a result without a training, and pictures are left out."""
    monkeypatch.setattr(YoloRuns, "__call__", lambda *_: result(0.5, [0.5] * 3))
    monkeypatch.setattr(Results, "write", lambda *_: None)


def test_a_table_of_finished_runs_needs_no_data(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do_nothing(monkeypatch)
    data = tmp_path / "own.yaml"
    data.write_bytes(small_data.read_bytes())
    command = words(data, "PAFPN=yolov5n.yaml")
    afpn(*command, cwd=tmp_path)
    data.unlink()
    assert "| PAFPN | 1 |" in afpn(*command, cwd=tmp_path).stdout
    assert afpn(*command, "--seeds", "1", cwd=tmp_path, fails=True).returncode == 2


def test_a_scale_that_would_not_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = YAML.load(shipped("models", "yolov5-afpn.yaml"))
    few = {letter: content["scales"][letter] for letter in ("n", "s")}
    YAML.save("own5.yaml", content | {"scales": few})
    without_ours = {"scales": few, "head": content["head"][-1:]}  # or it is refused when read
    YAML.save("yolo5x-own.yaml", content | without_ours)
    YAML.save("flat.yaml", {key: value for key, value in content.items() if key != "scales"})
    for model, scale, message in (
        ("own5.yaml", "x", "only n, s"),
        ("yolo5x-own.yaml", None, "only n, s"),
        ("flat.yaml", "n", "no scales"),
        ("own5s.yaml", None, "--scales"),
    ):
        with pytest.raises(ValueError, match=message):
            read_model_yaml(model, scale)


def test_a_start_from_random_weights_is_announced(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do_nothing(monkeypatch)
    for more, announced in (
        (("--backbone", "none", "--name", "meant"), False),
        ((), True),
        ((), False),  # nothing is left to train
    ):
        command = words(small_data, "none=yolov5n-none.yaml", *more)
        assert ("random weights" in afpn(*command, cwd=tmp_path).stderr) == announced


def test_rows_of_a_neck_are_not_frozen(small_data: Path, tmp_path: Path) -> None:
    comparison(small_data, tmp_path, NECKS, extra={"freeze": 10})
    with pytest.raises(ValueError, match="row 10"):
        comparison(small_data, tmp_path, NECKS, extra={"freeze": 11})
