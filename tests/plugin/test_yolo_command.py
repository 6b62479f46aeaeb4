"""The stock `yolo` command in an empty folder, and what it leaves, in processes of their own."""

from __future__ import annotations

import csv
from pathlib import Path

from ultralytics import YOLO as Model
from ultralytics.utils import ASSETS

from tests.conftest import TRAIN
from tests.processes import COMMANDS, TINY, YOLO, forked, run

BUS = ASSETS / "bus.jpg"


def test_train(trained: Path) -> None:
    weights = trained / "run" / "weights"
    assert {path.name for path in weights.iterdir()} == {"best.pt", "last.pt"}
    assert len(list(csv.DictReader((trained / "run" / "results.csv").open()))) == 2


def test_all_commands_under_safe_loading(best: Path, small_data: Path, tmp_path: Path) -> None:
    """Without it: test_network.py."""
    model, project = f"model={best}", f"project={tmp_path}"
    words = [
        ("train", model, f"data={small_data}", *TRAIN, "epochs=1", project, "name=tuned"),
        ("predict", model, f"source={BUS}", "imgsz=160", project, "name=out"),
        ("val", model, f"data={small_data}", "imgsz=64", "workers=0", project),
        ("export", model, "format=onnx", "imgsz=64", "simplify=False"),
    ]
    env = {"ULTRALYTICS_SAFE_LOAD": "1"}
    result = forked(COMMANDS.format(words=words), cwd=tmp_path, env=env)
    for name in ("out/bus.jpg", "tuned/weights/best.pt"):
        assert (tmp_path / name).is_file()
    assert "mAP50" in result.stdout + result.stderr
    assert best.with_suffix(".onnx").is_file()


def test_fine_tuning_to_another_number_of_classes(best: Path, tmp_path: Path) -> None:
    from afpn_yolo.shapes import generate

    root = generate(tmp_path / "set", train=4, val=2, size=160)
    for label in root.glob("labels/*/*.txt"):
        label.write_text("".join(f"0{row[1:]}\n" for row in label.read_text().splitlines()))
    data = tmp_path / "one.yaml"
    data.write_text(f"path: {root}\ntrain: images/train\nval: images/val\nnames: [solid]\n")
    command = (YOLO, "train", f"model={best}", f"data={data}", *TRAIN, "epochs=1", "freeze=10")
    run(*command, f"project={tmp_path}", "name=tuned", cwd=tmp_path)
    tuned = tmp_path / "tuned" / "weights" / "best.pt"
    assert Model(tuned).names == {0: "solid"}


def test_a_graft_by_name(small_data: Path, tmp_path: Path) -> None:
    """There is no such file, here or in the package: the name is read."""
    options = (*TRAIN, "epochs=1", f"project={tmp_path}", "name=run")
    words = [
        ("train", "model=yolo26n-afpn-lite.yaml", f"data={small_data}", *options),
        (
            "predict",
            "model=run/weights/best.pt",
            f"source={BUS}",
            f"project={tmp_path}",
            "name=out",
        ),
    ]
    forked(COMMANDS.format(words=words), cwd=tmp_path)
    assert (tmp_path / "out" / "bus.jpg").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"run", "out"}


def test_tune(small_data: Path, tmp_path: Path) -> None:
    """Ultralytics starts a trial as a `yolo train` process of its own."""
    code = f"""
from ultralytics import YOLO
YOLO({str(TINY)!r}).tune(data={str(small_data)!r}, iterations=1, epochs=1, imgsz=64, batch=4,
    workers=0, plots=False, val=False, project={str(tmp_path)!r})
"""
    forked(code, cwd=tmp_path)
    (found,) = tmp_path.rglob("best_hyperparameters.yaml")
    assert "lr0" in found.read_text()
