"""Comparisons of necks that are carried out: interrupted, failing, with a backbone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ultralytics import YOLO as Model
from ultralytics.utils import YAML

from afpn_yolo.compare.plan import Candidate
from afpn_yolo.compare.results import Results
from afpn_yolo.compare.run import Comparison
from afpn_yolo.evaluation.fingerprint import data_digest, tensor_digest
from afpn_yolo.plugin.lookup import shipped
from afpn_yolo.upstream.models import build_model, read_tensors
from afpn_yolo.upstream.scales import read_model_yaml
from tests.compare.test_plan import record
from tests.processes import AFPN, ROOT, afpn, run


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tensors of a whole model in an .npz; the comparison may take rows 0 to 9 only."""
    path = tmp_path_factory.mktemp("weights") / "whole.npz"
    torch.manual_seed(3)
    tensors = Model("yolov5n.yaml").model.state_dict()
    np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    return path


def words(data: Path, *more: str | Path) -> tuple[str | Path, ...]:
    shape = ("--epochs", "3", "--imgsz", "64", "--batch", "4", "--workers", "0", "--device", "cpu")
    return ("compare", "--data", data, *shape, *more)


def test_compare(small_data: Path, backbone: Path, tmp_path: Path) -> None:
    """Killed in the first run, started again: every run once, the curve whole.

    Under settings that both necks must take: sizes that change, and rectangles.
    """
    settings = ("lr0=0.0", "optimizer=SGD", "rect=True", "multi_scale=0.5")
    command = words(small_data, "--backbone", backbone, "--set", *settings)
    first = tmp_path / "runs" / "compare" / "small" / "PAFPN-n-seed0"
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
    assert [r["run"] for r in result["runs"]] == ["PAFPN-n-seed0", "AFPN-n-seed0"]
    assert [len(r["curve"]["AP"]) for r in result["runs"]] == [3, 3]
    assert {p.name for p in (tmp_path / "results").glob("small*")} == {
        "small.json",
        "small.md",
        "small.html",
        "small-bubbles.png",
        "small-curves.png",
    }
    # With a learning rate of zero the weights are as they started.
    given = dict(np.load(backbone))
    for row in result["runs"]:
        last = first.with_name(row["run"]) / "weights" / "last.pt"
        weights = {k: v.float().numpy() for k, v in Model(last).model.state_dict().items()}
        taken = {
            int(key.split(".")[1])
            for key, value in given.items()
            if key.endswith("conv.weight")
            and ".dfl." not in key  # a constant
            and key in weights
            and weights[key].shape == value.shape
            and np.allclose(weights[key], value, atol=1e-3)
        }
        assert taken == set(range(10))

    times = {path: path.stat().st_mtime_ns for path in first.parent.rglob("*.pt")}
    assert "| AFPN-n | 1 |" in afpn(*command, cwd=tmp_path).stdout
    assert {
        path: path.stat().st_mtime_ns
        for path in first.parent.rglob("*.pt")
        if "backbone" not in path.name
    } == {path: t for path, t in times.items() if "backbone" not in path.name}


def test_a_failing_run_does_not_cost_the_others_and_each_has_its_scale(
    small_data: Path, tmp_path: Path
) -> None:
    """Ultralytics reads no scale from `own5n.yaml`: what was named must be what was built."""
    content = YAML.load(shipped("models", "yolov5-afpn.yaml"))
    YAML.save(tmp_path / "own5.yaml", content)
    YAML.save(tmp_path / "bad5.yaml", content | {"head": [[-1, 1, "Nonsense", [8]]]})
    necks = ("bad=bad5.yaml", "own=own5.yaml", "--scales", "s")
    output = afpn(*words(small_data, *necks), "--epochs", "1", cwd=tmp_path, fails=True)
    assert output.returncode == 1
    assert "error: bad-s-seed0" in output.stderr
    result = json.loads((tmp_path / "results" / "small.json").read_text())
    built = {run["run"]: run["parameters"] for run in result["runs"]}
    expected = build_model("yolov5-afpn.yaml", "s", 4)  # not n, which comes first in the file
    assert built == {"own-s-seed0": sum(p.numel() for p in expected.parameters())}


ON_A_TERMINAL = """
import sys
from afpn_yolo.cli.__main__ import main
sys.stderr.isatty = lambda: {terminal}
main(["compare", "--data", "my.yaml", "--json", "-"])
"""


def test_a_terminal_shows_a_line_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    def told(terminal: bool) -> list[str]:
        code = ON_A_TERMINAL.format(terminal=terminal)
        # -S: no installed package can be imported, so that it ends where it would take long.
        alone = run(sys.executable, "-S", "-c", code, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        assert not alone.stdout
        return alone.stderr.splitlines()

    first, error = told(terminal=True)
    assert first == "looking at data and models ..."
    assert error.startswith("error: ")
    assert told(terminal=False) == [error]


def comparison(data: Path, folder: Path, necks: Sequence[Candidate], **more: Any) -> Comparison:
    choice: dict[str, Any] = {"backbones": [], "extra": {}, "name": "x", **more}
    places: dict[str, Any] = {"out": folder / "results", "folder": folder / "runs"}
    return Comparison(necks, [0], str(data), 3, 64, 4, **choice, **places)


def test_another_backbone_leaves_that_of_a_running_comparison_alone(
    backbone: Path, small_data: Path, tmp_path: Path
) -> None:
    necks = [Candidate("PAFPN", "yolov5.yaml", "n")]
    first = comparison(small_data, tmp_path, necks, backbones=[backbone])
    first.records.add(first.runs[0], {"seconds": 1})
    before = first.backbones["n"].read_bytes()
    taken = tensor_digest(read_tensors(first.backbones["n"]))
    assert first.conditions.backbone == {"n": taken}

    def again(number: int) -> Path:
        other = comparison(small_data, tmp_path, necks, backbones=[backbone], name="y")
        return other.backbones["n"]

    with ThreadPoolExecutor(4) as pool:  # in one process
        (path,) = {*pool.map(again, range(4))}
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    tensors = {name: array + 1 for name, array in np.load(backbone).items()}
    np.savez(tmp_path / "other.npz", **tensors)
    with pytest.raises(ValueError, match=r"backbone: .* there"):
        comparison(small_data, tmp_path, necks, backbones=[tmp_path / "other.npz"])
    assert first.backbones["n"].read_bytes() == before


def test_a_backbone_of_another_scale(small_data: Path, backbone: Path, tmp_path: Path) -> None:
    command = words(small_data, "--backbone", backbone, "--scales", "s")
    output = afpn(*command, cwd=tmp_path, fails=True)
    assert output.returncode == 2
    assert "whole.npz" in output.stderr
    assert "model.0.conv.weight has the shape (16, 3, 6, 6), (32, 3, 6, 6)" in output.stderr
    assert not list(tmp_path.rglob("*.pt"))


def test_a_checkpoint_is_told_apart_by_its_tensors(small_data: Path, tmp_path: Path) -> None:
    def digest(seed: int) -> str | None:
        torch.manual_seed(seed)
        Model("yolov5n.yaml").save(tmp_path / "start.pt")
        neck = Candidate("start", str(tmp_path / "start.pt"))
        return comparison(small_data, tmp_path, [neck]).necks[0].digest

    assert digest(0) == digest(0)
    assert digest(0) != digest(1)


def test_a_set_is_the_same_wherever_it_lies(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named from where one stands, by its whole path, and copied to another place."""
    names = []
    for place in ("here", "there/deeper"):
        root = Path(shutil.copytree(YAML.load(small_data)["path"], tmp_path / place / "set"))
        monkeypatch.chdir(root.parent)
        names += [
            data_digest(str(name), ("train", "val"))
            for name in ("set/data.yaml", root / "data.yaml")
        ]
    assert len(set(names)) == 1


def test_a_set_is_the_same_where_lists_name_its_images_through_a_link(
    small_data: Path, tmp_path: Path
) -> None:
    """Ultralytics resolves links of folders, and leaves those in a list as they are."""
    root = Path(shutil.copytree(YAML.load(small_data)["path"], tmp_path / "set"))
    link = tmp_path / "link"
    link.symlink_to(root)
    digests = []
    for place in (root, link):
        for split in ("train", "val"):
            images = sorted((place / "images" / split).iterdir())
            (root / f"{split}.txt").write_text("\n".join(map(str, images)), "utf-8")
        splits = {"path": str(place), "train": "train.txt", "val": "val.txt"}
        YAML.save(root / "lists.yaml", YAML.load(small_data) | splits)
        digests.append(data_digest(str(root / "lists.yaml"), ("train", "val")))
    assert digests[0] == digests[1]


@pytest.mark.parametrize("change", ["label", "image", "removed", "background"])
def test_data_that_have_changed_since(change: str, small_data: Path, tmp_path: Path) -> None:
    root, yaml = tmp_path / "set", tmp_path / "own.yaml"
    shutil.copytree(YAML.load(small_data)["path"], root)
    yaml.write_text(small_data.read_text().replace(YAML.load(small_data)["path"], str(root)))
    necks = [Candidate("PAFPN", "yolov5.yaml", "n")]
    first = comparison(yaml, tmp_path, necks)
    assert first.conditions.data_digest == comparison(yaml, tmp_path, necks).conditions.data_digest
    first.records.add(first.runs[0], {"seconds": 1})
    comparison(yaml, tmp_path, necks)
    image = min((root / "images" / "train").iterdir())
    label = root / "labels" / "train" / f"{image.stem}.txt"
    if change == "label":
        label.write_text(label.read_text().replace("0.", ".0", 1))
    elif change == "image":
        shutil.copy(image, image.with_name(f"more{image.suffix}"))
    elif change == "removed":
        image.unlink()
    else:
        label.unlink()
    with pytest.raises(ValueError, match=r"x\.json.*images or labels have changed since"):
        comparison(yaml, tmp_path, necks, name="x")
    comparison(yaml, tmp_path, necks, name="another")


def test_a_table_of_finished_runs_needs_no_data(small_data: Path, tmp_path: Path) -> None:
    necks = [Candidate("PAFPN", "yolov5.yaml", "n")]
    first = comparison(small_data, tmp_path, necks)
    first.records.add(first.runs[0], {"seconds": 1})
    first.records.conditions = replace(first.conditions, data="gone.yaml")
    first.records.path.write_text(first.records.path.read_text().replace(str(small_data), "gone"))
    comparison(Path("gone"), tmp_path, necks)
    with pytest.raises(ValueError, match="gone"):
        comparison(Path("gone"), tmp_path, [*necks, Candidate("AFPN", "yolov5-afpn.yaml", "n")])


@pytest.mark.parametrize(
    ("model", "scale", "message"),
    [
        ("own5.yaml", "x", r"own5\.yaml has no scale x, it has only n, s"),
        ("yolo5x-own.yaml", None, r"yolo5x-own\.yaml has no scale x, it has only n, s"),
        ("flat.yaml", "n", r"flat\.yaml has no scale n, it has no scales at all"),
        (
            "own5s.yaml",
            None,
            r"own5s\.yaml: .* would build scale n; write own5\.yaml with --scales",
        ),
    ],
)
def test_a_scale_that_would_not_be_built(
    model: str, scale: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = YAML.load(shipped("models", "yolov5-afpn.yaml"))
    few = {letter: content["scales"][letter] for letter in ("n", "s")}
    YAML.save("own5.yaml", content | {"scales": few})
    without_ours = {"scales": few, "head": content["head"][-1:]}  # or it is refused when read
    YAML.save("yolo5x-own.yaml", content | without_ours)
    YAML.save("flat.yaml", {key: value for key, value in content.items() if key != "scales"})
    with pytest.raises(ValueError, match=message):
        read_model_yaml(model, scale)


def test_a_start_from_random_weights_is_told(
    small_data: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afpn_yolo.compare.run.carry_out", lambda *rest: record(0.5, [0.5] * 3))
    monkeypatch.setattr(Results, "write", lambda *rest: None)

    def told(*more: str | Path) -> list[str]:
        command = words(small_data, "none=yolov5n-none.yaml", *more)
        lines = afpn(*command, cwd=tmp_path).stderr.splitlines()
        return [line for line in lines if "random weights" in line]

    assert not told("--backbone", backbone, "--name", "given")
    assert not told("--backbone", "none", "--name", "meant")
    assert "--backbone FILE" in told()[0]
    assert not told(), "nothing is left to train"
    assert len(told("--quick")) == 1, "it has weights for its own models only"


def test_rows_of_a_neck_are_not_frozen(small_data: Path, tmp_path: Path) -> None:
    necks = [Candidate("PAFPN", "yolov5.yaml", "n")]
    comparison(small_data, tmp_path, necks, extra={"freeze": 10})
    with pytest.raises(ValueError, match="row 10 is no row of PAFPN's backbone, which has 10"):
        comparison(small_data, tmp_path, necks, extra={"freeze": 11})
