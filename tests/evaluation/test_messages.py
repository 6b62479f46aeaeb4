"""What is said of files whose names have blanks and letters of other languages."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
import torch

from afpn_yolo.base.errors import EvaluationError, quoted
from afpn_yolo.evaluation.datasets import read_data
from afpn_yolo.plugin.checkpoints import CheckpointPath, remedy
from afpn_yolo.upstream.log import one_line


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/büch er/Größe.pt", "/büch er/Größe.pt"),
        ("/データ/изображения/صور/a.jpg", "/データ/изображения/صور/a.jpg"),
        ("20 °C © x² ½", "20 °C © x² ½"),
        ("Dataset 'ä.yaml' error ❌\n  not found ⚠️ 🚀", "Dataset 'ä.yaml' error not found"),
        ("ERROR ❌️ module 'X' is not permitted", "module 'X' is not permitted"),
        ("/ERROR/a.pt", "/ERROR/a.pt"),
        ("\x1b[31m\x1b[1mred\x1b[0m\x07\x9b text", "red text"),
        ("a\u202egpj.exe", "agpj.exe"),  # it would be shown from right to left
        ("/\udcff/a.pt", "/?/a.pt"),  # a byte that is no letter
        ("", "ValueError"),
    ],
)
def test_a_message_keeps_letters_and_loses_pictures(said: str, shown: str) -> None:
    assert one_line(ValueError(said)) == shown


def test_a_name_outside_ascii_is_told_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "büch er"
    with pytest.raises(EvaluationError, match=r"büch er/größe\.yaml"):
        read_data(folder / "größe.yaml", {0: "a"})


@pytest.mark.skipif(os.name == "nt", reason="another shell")
def test_a_remedy_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / "büch er's"
    folder.mkdir()
    torch.save({"epoch": 3}, folder / "epoch3.pt")
    (folder / "last.pt").write_bytes(b"PK")
    for sentence in (remedy(folder / "last.pt"), _full(folder)):
        command = sentence.split("`")[1]
        *words, model = shlex.split(command)
        assert words == ["yolo", "train", "resume"]
        assert Path(model.removeprefix("model=")).is_file()


def _full(folder: Path) -> str:
    """What is said when a checkpoint can't be written."""
    (folder / "last.pt").unlink()
    (folder / "last.pt").mkdir()  # nothing takes its place
    with pytest.raises(OSError, match="go on with") as caught:
        CheckpointPath(folder / "last.pt").write_bytes(b"new")
    (folder / "last.pt").rmdir()
    torch.save({"epoch": 4}, folder / "last.pt")
    return str(caught.value)


@pytest.mark.parametrize(
    ("system", "expected"), [("posix", "'model=a b.pt'"), ("nt", '"model=a b.pt"')]
)
def test_blanks_are_quoted_as_the_system_does(
    monkeypatch: pytest.MonkeyPatch, system: str, expected: str
) -> None:
    monkeypatch.setattr("afpn_yolo.base.errors.os.name", system)
    assert quoted("model=a b.pt") == expected
    assert quoted("model=ab.pt") == "model=ab.pt"
