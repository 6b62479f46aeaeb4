"""The command `afpn graft`: what it prints and writes, and its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ultralytics import YOLO

from tests.graft.stock import own
from tests.processes import ROOT, afpn


def test_the_command_prints_a_yaml(tmp_path: Path) -> None:
    text = afpn("graft", "yolov5n.yaml", "--neck", "lite", cwd=tmp_path).stdout
    assert text == (ROOT / "models" / "yolov5-afpn-lite.yaml").read_text("utf-8")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("scales", "built"), [("ns", "s"), ("n", ""), ("", "")], ids=["it has", "it hasn't", "none"]
)
def test_a_scale_is_read_where_ultralytics_reads_it(
    scales: str, built: str, tmp_path: Path
) -> None:
    """Anywhere in the name; a file that doesn't name it is built at the first scale."""
    widths = {letter: [0.5, 0.5, 1024] for letter in scales}
    (tmp_path / "my-yolov5s.yaml").write_text(yaml.safe_dump(own(scales=widths)), "utf-8")
    command = ("graft", "my-yolov5s.yaml", "--neck", "none")
    printed = yaml.safe_load(afpn(*command, cwd=tmp_path).stdout)
    assert [*printed.get("scales", "")] == sorted(scales, key=lambda letter: letter != built)
    told = afpn(*command, "-o", "mine.yaml", cwd=tmp_path).stderr
    assert told == (f"mine.yaml names no scale: it is built at {built}\n" if built else "")
    assert not afpn(*command, "-o", "my-yolov5s-none.yaml", cwd=tmp_path).stderr


def test_the_command_writes_a_yaml(tmp_path: Path) -> None:
    result = afpn("graft", "yolo11s-seg.yaml", "-o", "out/mine.yaml", cwd=tmp_path)
    assert result.stdout == "out/mine.yaml\n"
    assert result.stderr == "mine.yaml names no scale: it is built at s\n"
    model = YOLO(tmp_path / "out" / "mine.yaml")
    assert model.task == "segment"
    by_name = YOLO("yolo11s-afpn-seg.yaml").model.state_dict()
    assert {k: v.shape for k, v in model.model.state_dict().items()} == {
        k: v.shape for k, v in by_name.items()
    }


def test_a_neck_that_cannot_be_as_small_as_the_stock_one_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(own()), "utf-8")
    for words in ((), ("-o", "new.yaml")):
        result = afpn("graft", "mine.yaml", *words, cwd=tmp_path)
        assert "so small" in result.stderr
        assert "so small" not in result.stdout
    assert not afpn("graft", "mine.yaml", "--neck", "none", cwd=tmp_path).stderr


@pytest.mark.parametrize("name", ["yolo99n.yaml", "empty.yaml", "yolo11n.pt"])
def test_mistakes_of_the_command(name: str, tmp_path: Path) -> None:
    """Further ones are in bad_input.yaml."""
    (tmp_path / "empty.yaml").touch()
    (line,) = afpn("graft", name, cwd=tmp_path, fails=True).stderr.splitlines()
    assert name in line


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """Neither a data YAML, nor the model itself, nor a graft that was edited; one that is equal."""
    files = {
        "data.yaml": "path: .\ntrain: images\nval: images\nnames: [a]\n",
        "own.yaml": yaml.safe_dump(own()),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
        afpn("graft", "own.yaml", "-o", name, cwd=tmp_path, fails=True)
        assert (tmp_path / name).read_text("utf-8") == text
    afpn("graft", "own.yaml", "-o", "new.yaml", cwd=tmp_path)
    afpn("graft", "own.yaml", "-o", "new.yaml", cwd=tmp_path)
    afpn("graft", "own.yaml", "--neck", "lite", "-o", "new.yaml", cwd=tmp_path, fails=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.yaml", "new.yaml", "own.yaml"]
