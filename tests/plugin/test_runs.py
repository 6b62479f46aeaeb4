"""A training that is killed, or whose disk is full, goes on from its last whole epoch."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ultralytics import YOLO as Model

from afpn_yolo.plugin.checkpoints import CheckpointPath, keep_run, remedy, resumable
from afpn_yolo.upstream.train import train as train_or_go_on
from tests.interrupted import go_on, last, results, train_until
from tests.processes import COMMAND, TINY, YOLO, forked, run

MODEL = str(TINY)
STOCK = """
nc: 2
backbone: [[-1, 1, Conv, [8, 3, 2]], [-1, 1, Conv, [8, 3, 2]], [-1, 1, C2f, [16, True]]]
head: [[[0, 2], 1, Detect, [nc]]]
"""
SMALL = ("epochs=3", "imgsz=64", "batch=4", "workers=0", "plots=False", "verbose=False")
# Root may write anywhere unless it gives that up.
HUMBLE = """
import ctypes
libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
libc.capget(header, sets)
sets[0] &= ~(1 << 1)  # CAP_DAC_OVERRIDE
assert libc.capset(header, sets) == 0
"""
HUMBLE = HUMBLE if os.geteuid() == 0 else ""


def words(data: Path) -> tuple[str, ...]:
    return (f"data={data}", *SMALL)


def epochs(folder: Path) -> list[float]:
    return [row["epoch"] for row in results(folder)]


@pytest.mark.parametrize(
    "place", [pytest.param("validation", marks=pytest.mark.slow), "checkpoint"]
)
def test_a_killed_training_goes_on_from_its_last_whole_epoch(
    place: str, small_data: Path, tmp_path: Path
) -> None:
    train_until(tmp_path, place, 3, MODEL, *words(small_data))
    weights = last(tmp_path).parent
    assert {(w.path.name, w.epochs) for w in resumable(weights)} >= {("last.pt", 2)}
    left = {path.name for path in weights.iterdir()} - {"best.pt", "last.pt"}
    assert len(left) == (place == "checkpoint")  # half of the new file, under another name
    go_on(tmp_path)
    assert epochs(tmp_path) == [1, 2, 3]
    assert {path.name for path in weights.iterdir()} == {"best.pt", "last.pt"}


def test_a_training_killed_in_its_very_last_step_has_its_weights(
    small_data: Path, tmp_path: Path
) -> None:
    train_until(tmp_path, "end", 3, MODEL, *words(small_data))
    assert {(w.path.name, w.epochs) for w in resumable(last(tmp_path).parent)} >= {("last.pt", 3)}
    before = last(tmp_path).read_bytes()
    assert train_or_go_on(MODEL, tmp_path / "run", {}, "cpu") == last(tmp_path)
    assert last(tmp_path).read_bytes() == before


def test_a_full_disk_and_then_a_damaged_file(small_data: Path, tmp_path: Path) -> None:
    output = train_until(tmp_path, "full", 3, MODEL, *words(small_data))
    line = output.splitlines()[-1]
    assert line.startswith("OSError")
    assert "File too large; it is still the whole one of an epoch before" in line
    assert f"`yolo train resume model={last(tmp_path)}`" in line
    assert resumable(last(tmp_path).parent)[0].epochs == 2
    assert epochs(tmp_path) == [1, 2, 3]  # Ultralytics writes this row first

    content = last(tmp_path).read_bytes()
    last(tmp_path).write_bytes(content[: len(content) // 2])
    result = run(YOLO, "train", "resume", f"model={last(tmp_path)}", cwd=tmp_path, fails=True)
    message = result.stderr.splitlines()[-1]
    best = last(tmp_path).with_name("best.pt")
    assert f"{last(tmp_path)} is cut short or damaged" in message
    assert "Whole checkpoints beside it: best.pt (epoch 2)" in message
    (remedy,) = re.findall("`yolo (.*)`", message)
    assert remedy == f"train resume model={best}"
    run(YOLO, *remedy.split(), cwd=tmp_path)
    assert epochs(tmp_path) == [1, 2, 3]


def test_a_comparison_goes_on_from_what_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = []

    class Recorder:
        def __init__(self, model: Path, **_: Any) -> None:
            self.model = model

        def train(self, **arguments: Any) -> None:
            calls.append((self.model, arguments))

    monkeypatch.setattr("afpn_yolo.upstream.train.YOLO", Recorder)
    weights = last(tmp_path).parent
    weights.mkdir(parents=True)
    last(tmp_path).write_bytes(b"half")
    train_or_go_on(MODEL, tmp_path / "run", {"epochs": 3}, "cpu")
    torch.save({"epoch": 1, "train_args": {"epochs": 3}}, weights / "best.pt")
    train_or_go_on(MODEL, tmp_path / "run", {"epochs": 3}, "cpu")
    (anew, arguments), (best, going_on) = calls
    assert (anew, arguments["epochs"]) == (MODEL, 3)
    assert (best, going_on["resume"]) == (weights / "best.pt", True)


def test_a_training_killed_in_an_epoch_goes_on_once_its_folder_is_no_longer_read_only(
    small_data: Path, tmp_path: Path
) -> None:
    train_until(tmp_path, "epoch", 2, MODEL, *words(small_data))
    weights = last(tmp_path).parent
    before = last(tmp_path).read_bytes()
    resume = ("train", "resume", f"model={last(tmp_path)}")
    for folder, file in ((weights, last(tmp_path)), (weights.parent, weights.parent / "args.yaml")):
        (weights.parent / "args.yaml").chmod(0o444 if folder != weights else 0o644)
        folder.chmod(0o555)
        try:
            result = forked(HUMBLE + COMMAND, *resume, cwd=tmp_path, fails=True)
        finally:
            folder.chmod(0o755)
        error = result.stderr.splitlines()[-1]
        assert error.startswith("PermissionError: [Errno 13] Permission denied")
        assert error.endswith(f"'{file}'")
        assert last(tmp_path).read_bytes() == before
    (weights.parent / "args.yaml").chmod(0o644)
    go_on(tmp_path)
    assert epochs(tmp_path) == [1, 2, 3]


def test_stock_models_are_saved_as_ever(small_data: Path, tmp_path: Path) -> None:
    code = """
from ultralytics import YOLO
def tell(trainer):
    from ultralytics.engine import trainer as engine
    print(type(trainer.last).__name__, hasattr(engine.strip_optimizer, "afpn_yolo"))
for model in {models!r}:
    yolo = YOLO(model)
    yolo.reset_callbacks()  # as tuning does
    yolo.add_callback("on_train_start", tell)
    yolo.train(data={data!r}, epochs=1, imgsz=64, batch=4, workers=0, plots=False, project={to!r})
"""
    (tmp_path / "stock.yaml").write_text(STOCK)
    values = {"data": str(small_data), "to": str(tmp_path), "models": ["stock.yaml", MODEL]}
    result = forked(code.format(**values), cwd=tmp_path)
    assert re.findall(r"(?m)^(\w+Path) (\w+)$", result.stdout) == [
        (type(tmp_path).__name__, "False"),
        ("CheckpointPath", "True"),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of all kinds."""
    for name, epoch in (("best.pt", 3), ("epoch4.pt", 4), ("done.pt", -1)):
        torch.save({"epoch": epoch}, tmp_path / name)
    torch.save([1], tmp_path / "foreign.pt")
    (tmp_path / "last.pt").write_bytes((tmp_path / "best.pt").read_bytes()[:-40])
    return tmp_path


def test_what_a_training_can_go_on_from(folder: Path) -> None:
    found = [(whole.path.name, whole.epochs) for whole in resumable(folder)]
    assert found == [("epoch4.pt", 5), ("best.pt", 4)]
    assert remedy(folder / "last.pt").endswith(
        "Whole checkpoints beside it: epoch4.pt (epoch 5), best.pt (epoch 4). "
        f"Go on with `yolo train resume model={folder / 'epoch4.pt'}`"
    )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04half", None])
def test_a_damaged_file_with_nothing_beside_it(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    torch.save({"model": torch.zeros(9)}, path)
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(TypeError, match=r"some\.pt is cut short.* there is no checkpoint to go on"):
        Model(path)


def test_other_faults_of_a_checkpoint_keep_their_error(tmp_path: Path) -> None:
    torch.save({"epoch": 1}, tmp_path / "whole.pt")
    (tmp_path / "text.pt").write_bytes(b"half a sentence")
    for name in ("whole.pt", "text.pt"):
        with pytest.raises((TypeError, AttributeError, KeyError)) as caught:
            Model(tmp_path / name)
        assert "cut short" not in str(caught.value)


class Hostile:
    """What an unpickler runs a command for."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_nothing_in_neighbouring_files_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"epoch": Hostile(mark)}, tmp_path / "one.pt")
    torch.save({"epoch": 5, "model": Hostile(mark)}, tmp_path / "two.pt")
    (tmp_path / "cut.pt").write_bytes(b"PK\x03\x04half")
    with pytest.raises(TypeError, match=r"beside it: two\.pt \(epoch 6\)"):
        Model(tmp_path / "cut.pt")
    assert not mark.exists()
    torch.load(tmp_path / "one.pt", weights_only=False)
    assert mark.exists()


def test_a_checkpoint_with_wrong_bytes_is_not_whole(tmp_path: Path) -> None:
    torch.save({"epoch": 5, "weight": torch.full((99,), 0.5)}, tmp_path / "a.pt")
    assert [whole.epochs for whole in resumable(tmp_path)] == [6]
    content = (tmp_path / "a.pt").read_bytes()
    number = torch.tensor(0.5).numpy().tobytes()
    (tmp_path / "a.pt").write_bytes(content.replace(number, bytes(4), 1))
    assert resumable(tmp_path) == []


def test_a_file_that_the_optimizer_cannot_be_taken_out_of_stays(tmp_path: Path) -> None:
    """Ultralytics warns then, and goes on; so it does with a file that is written whole."""
    from ultralytics.engine import trainer as engine

    path = CheckpointPath(tmp_path) / "last.pt"
    path.write_bytes(b"no checkpoint")
    trainer = SimpleNamespace(model=Model(MODEL).model, wdir=tmp_path, resume=False)
    keep_run(trainer)
    assert engine.strip_optimizer(trainer.last) == {}
    assert path.read_bytes() == b"no checkpoint"
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]
