"""`python -m afpn_yolo.edge --json -`: the list on standard output, and nothing else there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.edge.test_edge_command import save_clip
from tests.lively import PHOTOGRAPHS
from tests.processes import AFPN, EDGE, run


@pytest.mark.parametrize("command", [EDGE, (*AFPN, "detect")], ids=["edge", "afpn"])
def test_the_list_alone_goes_to_standard_output(
    command: tuple[str, ...], edge_model: Path, tmp_path: Path
) -> None:
    clip = save_clip(tmp_path / "clip.avi", 3)
    words = (*command, edge_model, PHOTOGRAPHS[0], clip, "missing.jpg", "--json")
    to_file = run(*words, "found.json", cwd=tmp_path, fails=True)
    printed = run(*words, "-", cwd=tmp_path, fails=True)
    assert (to_file.returncode, printed.returncode) == (1, 1)
    assert printed.stdout == (tmp_path / "found.json").read_text("utf-8")
    assert [entry.get("frame") for entry in json.loads(printed.stdout)] == [None, 0, 1, 2]
    lines = {*to_file.stdout.splitlines(), *to_file.stderr.splitlines()}
    assert {*printed.stderr.splitlines()} == lines
    assert len(lines) == 3
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("read", [0, 1])
def test_a_reader_of_the_list_that_goes_away(edge_model: Path, tmp_path: Path, read: int) -> None:
    """Before it begins, or while more entries come than a pipe holds."""
    clip = save_clip(tmp_path / "long.avi", 500)
    reader, writer = os.pipe()
    words = (*EDGE, edge_model, clip, "--conf", "0.01", "--json", "-")
    if not read:
        os.close(reader)
    process = subprocess.Popen(words, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    if read:
        assert os.read(reader, 1) == b"["
        os.close(reader)
    _, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (141, b"")


def test_a_full_disk_behind_standard_output(edge_model: Path, tmp_path: Path) -> None:
    words = (*EDGE, edge_model, PHOTOGRAPHS[0], "--json", "-")
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            words, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert result.returncode == 2
    assert result.stderr == b"error: [Errno 28] No space left on device\n"
