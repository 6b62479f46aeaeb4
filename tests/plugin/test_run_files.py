"""The files of a training: how they are written, and what stands in them after a resume."""

from __future__ import annotations

import pickle
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch

from afpn_yolo.base.files import PartPath, written_whole
from afpn_yolo.plugin.checkpoints import CheckpointPath, forget_epochs, forget_parts
from tests.processes import forked

HEAD = "epoch,time,loss"


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ("1,10,0.5\n2,20,0.4\n", "1,10,0.5\n2,20,0.4\n"),
        ("1,10,0.5\n2,20,0.4\n3,30,0.3\n", "1,10,0.5\n2,20,0.4\n"),
        ("1,10,0.5\n2,20,0.4\n3,3", "1,10,0.5\n2,20,0.4\n"),
        ("1,10,0.5\n2,20,0.4\n3,30,0.3\n3,31,0.3\n4,", "1,10,0.5\n2,20,0.4\n"),
        ("1,10,0.5\n2,20,0.4\n\n1,", "1,10,0.5\n2,20,0.4\n"),
    ],
)
def test_rows_that_are_written_again(rows: str, kept: str, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text(f"{HEAD}\n{rows}")
    forget_epochs(path, 2)
    assert path.read_text() == f"{HEAD}\n{kept}"


def test_no_results_yet(tmp_path: Path) -> None:
    forget_epochs(tmp_path / "results.csv", 2)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_path_is_kept_as_a_plain_one(tmp_path: Path) -> None:
    path = CheckpointPath(tmp_path) / "best.pt"
    assert type(path) is CheckpointPath
    again = pickle.loads(pickle.dumps(path))
    assert type(again) is type(tmp_path)
    assert again == tmp_path / "best.pt"


def test_a_message_names_the_file_that_will_be(tmp_path: Path) -> None:
    """As Ultralytics' own at the end of a training: where the checkpoint was saved."""
    with written_whole(tmp_path / "last.pt") as part:
        torch.save({}, PartPath(part))
        assert f"saved as {PartPath(part)}," == f"saved as {tmp_path}/last.pt,"
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_several_threads_write_one_file(tmp_path: Path) -> None:
    path, together = tmp_path / "found.json", Barrier(8)

    def write(number: int) -> None:
        together.wait()
        with written_whole(path) as part:
            part.write_text(f"{number}" * 1000)
            together.wait()  # all have a part by now

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert path.read_text() in {f"{number}" * 1000 for number in range(8)}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_killed_processes_left_is_found(tmp_path: Path) -> None:
    (tmp_path / "mine.part").touch()
    part = written_whole(tmp_path / "last.pt")
    part.__enter__().touch()
    forget_parts(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.part"]


def test_what_is_said_of_a_file_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda count: "1")
    weights = CheckpointPath(tmp_path)
    for path in (weights / "best.pt", weights / "last.pt"):
        path.with_name(f"{path.name}.1.part").mkdir()
    with pytest.raises(IsADirectoryError, match=r"; it is missing: .*best\.pt"):
        (weights / "best.pt").write_bytes(b"new")
    (tmp_path / "last.pt").write_bytes(b"old")
    (tmp_path / "best.pt").write_bytes(b"older")  # last.pt is written before it
    with pytest.raises(IsADirectoryError, match=r"still the whole.* model=.*last\.pt`: '.*best"):
        (weights / "best.pt").write_bytes(b"new")
    (tmp_path / "best.pt").unlink()
    with pytest.raises(IsADirectoryError, match=r"it is missing\. .* model=.*last\.pt`: '.*best"):
        (weights / "best.pt").write_bytes(b"new")
    with pytest.raises(
        IsADirectoryError, match=r"whole one of an epoch before\..*last\.pt`: '.*last"
    ):
        (weights / "last.pt").write_bytes(b"new")
    assert (tmp_path / "last.pt").read_bytes() == b"old"


WRITERS: dict[str, tuple[str, Any]] = {
    "files.write_json(path, [1] * 10_000)": ("json", "[0]"),
    "CheckpointPath(path).write_bytes(b'1' * 10_000)": ("pt", "0"),
}


@pytest.mark.parametrize("call", WRITERS)
def test_our_own_files_survive_a_full_disk(call: str, tmp_path: Path) -> None:
    kind, content = WRITERS[call]
    path = tmp_path / f"file.{kind}"
    path.write_text(content)
    code = f"""
import resource, sys
sys.dont_write_bytecode = True
from pathlib import Path
from afpn_yolo.base import files
from afpn_yolo.plugin.checkpoints import CheckpointPath
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
path = Path({str(path)!r})
{call}
"""
    result = forked(code, cwd=tmp_path, fails=True)
    assert "OSError: [Errno 27] File too large" in result.stderr
    assert path.read_text() == content
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
