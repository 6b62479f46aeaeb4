"""The command `afpn graft`: what it prints and writes, its tables, its mistakes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ultralytics import YOLO

from afpn_yolo.deploy.families import Cost, Family, table
from tests.graft.stock import Config, own
from tests.processes import AFPN, ROOT, afpn, run

NO_WEIGHTS = [
    [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
    [[-1, 3], 1, "Concat", [1]],
    [[6, 4], 1, "Detect", ["nc"]],
]

SMALL = {
    "scales": None,
    "backbone": [[-1, 1, "Conv", [8, 3, 2]] for _ in range(6)],
    "head": [[-1, 1, "Conv", [8]], [[4, 6], 1, "Detect", ["nc"]]],
}
"""Its stock neck takes too few operations for the digits that are kept of them."""


def test_the_command_prints_a_yaml(tmp_path: Path) -> None:
    text = afpn("graft", "yolov5n.yaml", "--neck", "lite", cwd=tmp_path).stdout
    assert text == (ROOT / "models" / "yolov5-afpn-lite.yaml").read_text("utf-8")
    assert not [*tmp_path.iterdir()]


def test_what_is_printed_names_first_the_scale_that_was_asked_for(tmp_path: Path) -> None:
    printed = afpn("graft", "yolo11s.yaml", cwd=tmp_path).stdout
    assert [*yaml.safe_load(printed)["scales"]][:2] == ["s", "n"]


def test_a_scale_is_read_where_ultralytics_reads_it(tmp_path: Path) -> None:
    """Anywhere in the name."""
    scales = {"n": [0.5, 0.5, 1024], "s": [0.5, 1.0, 1024]}
    (tmp_path / "my-yolov5s.yaml").write_text(yaml.safe_dump(own(scales=scales)), "utf-8")
    printed = afpn("graft", "my-yolov5s.yaml", cwd=tmp_path).stdout
    assert [*yaml.safe_load(printed)["scales"]] == ["s", "n"]
    told = afpn("graft", "my-yolov5s.yaml", "-o", "mine.yaml", cwd=tmp_path).stderr
    assert "mine.yaml names no scale: it is built at s\n" in told
    told = afpn("graft", "my-yolov5s.yaml", "-o", "my-yolov5s-afpn.yaml", cwd=tmp_path).stderr
    assert "names no scale" not in told


@pytest.mark.parametrize("scales", [None, {"n": [0.5, 0.5, 1024]}])
def test_a_scale_that_the_file_does_not_have_is_not_said_to_be_built(
    scales: Config | None, tmp_path: Path
) -> None:
    (tmp_path / "my-yolov5s.yaml").write_text(yaml.safe_dump(own(scales=scales)), "utf-8")
    told = afpn("graft", "my-yolov5s.yaml", "--neck", "none", "-o", "mine.yaml", cwd=tmp_path)
    assert not told.stderr


def test_the_table_of_a_file_without_the_scale_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "my-yolov5s.yaml").write_text(yaml.safe_dump(own()), "utf-8")
    told = afpn("graft", "my-yolov5s.yaml", "--table", cwd=tmp_path, fails=True).stderr
    assert told == "error: my-yolov5s.yaml has no scale s, it has only n\n"


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
    result = afpn("graft", "yolo11s-seg.yaml", "-o", "yolo3n-mine.yaml", cwd=tmp_path)
    assert result.stderr == ""


@pytest.mark.parametrize("words", [(), ("-o", "new.yaml")])
def test_a_neck_that_cannot_be_as_small_as_the_stock_one_says_so(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(own()), "utf-8")
    result = afpn("graft", "mine.yaml", *words, cwd=tmp_path)
    assert result.stderr == (
        "mine.yaml: its stock neck is so small that this one takes more, even at 1/8 of the widths "
        "that the head reads\n"
    )
    assert "so small" not in result.stdout
    assert not afpn("graft", "mine.yaml", "--neck", "none", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("yolo11n-cls.yaml",), "yolo11n-cls.yaml: it ends in Classify, which reads one row"),
        (("yolo11n.yaml", "--neck", "pan"), "there is no neck 'pan'; there are afpn, lite"),
        (("yolo11n.yaml", "-o", "mine.yml.txt"), "mine.yml.txt: Ultralytics opens model YAMLs"),
        (("yolo99n.yaml",), "yolo99"),
        (("empty.yaml",), "empty.yaml: backbone must be a list of rows"),
        (("yolo11n.pt",), "yolo11n.pt: a neck is put into a model YAML; weights start one by"),
        (("empty.yaml", "-o", "./empty.yaml"), "empty.yaml: it is the model itself; name another"),
        (("empty.yaml", "--table", "--time"), "--export and --time take models by name, no file"),
    ],
)
def test_mistakes_of_the_command(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    result = afpn("graft", *words, cwd=tmp_path, fails=True)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_table_of_what_necks_take(tmp_path: Path) -> None:
    words = ("graft", "yolov5n.yaml", "--table", "--export", "--json", "out.json")
    *_, line = afpn(*words, cwd=tmp_path).stdout.splitlines()
    assert line.startswith("| yolov5n | P3-P5 | 710,784 | 1.3")
    assert "| 508,565 (0.72), 1." in line
    assert "| 262,773 (0.37), 0." in line
    (row,) = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert row["necks"]["lite"]["parameters"] == 262_773
    assert all(0 < x < 1e-3 for x in row["onnx_difference"].values())


def test_the_table_of_a_file(tmp_path: Path) -> None:
    """Whose stock neck is so small that it is the smaller one."""
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(own()), "utf-8")
    result = afpn("graft", tmp_path / "mine.yaml", "--table", cwd=tmp_path, fails=True)
    assert result.returncode == 1
    assert "| mine | P3-P4 | 13,184 | 0.09 | 25,508 (**1.93**)" in result.stdout
    assert "mine-afpn.yaml: 1.93 of the stock neck's parameters" in result.stderr


@pytest.mark.parametrize(
    ("file", "changes", "cells"),
    [
        ("mine.yml", {}, "| P3-P4 | 13,184 | 0.09 | 25,508 (**1.93**),"),
        ("mine.yaml", {"channels": 1}, "| P3-P4 | 13,184 | 0.09 | 25,508 (**1.93**),"),
        (
            "mine.yaml",
            {"head": [*own()["head"][:-1], [[7], 1, "Detect", ["nc"]]]},
            "| P3 | 13,184 | 0.09 | 6,418 (0.49),",
        ),
        (
            "mine.yaml",
            {"head": [[[2, 3, 4], 1, "Detect", ["nc"]]]},
            "| P2-P4 | 0 | 0.00 | 41,909, 0.73 |",
        ),
        ("mine.yaml", {"head": NO_WEIGHTS}, "| P3-P4 | 0 | 0.00 | 62,180, 0.61 |"),
        ("mine.yaml", SMALL, "| P5-P6 | 80 | 0.00 | 9,508 (**118.85**), 0.00 |"),
    ],
    ids=[
        *("yml", "grey images", "one level", "no stock neck", "a stock neck without weights"),
        "a stock neck almost without operations",
    ],
)
def test_the_table_of_a_file_that_is_unlike_stock_ones(
    file: str, changes: Config, cells: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(yaml.safe_dump(own(**changes)), "utf-8")
    result = afpn("graft", file, "--table", cwd=tmp_path, fails="**" in cells)
    *_, line = result.stdout.splitlines()
    assert line.startswith(f"| mine {cells}")
    assert bool(result.stderr) == ("**" in cells)  # what is named there is why it fails


def test_nothing_stands_between_the_lines_of_the_table(tmp_path: Path) -> None:
    """Ultralytics' word on the scale went among them."""
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(own()), "utf-8")
    result = run(*AFPN, "graft", "mine.yaml", "--table", cwd=tmp_path, fails=True)
    assert [line[:5] for line in result.stdout.splitlines()] == ["| mod", "| ---", "| min"]


def test_the_command_needs_a_model(tmp_path: Path) -> None:
    assert "name a model YAML" in afpn("graft", cwd=tmp_path, fails=True).stderr


@pytest.mark.slow
def test_the_table_with_times(tmp_path: Path) -> None:
    words = ("graft", "yolov5n.yaml", "--table", "--time", "--json", "out.json")
    *_, line = afpn(*words, cwd=tmp_path).stdout.splitlines()
    (row,) = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert [*row["milliseconds"]] == ["neck", "model"]
    for times in row["milliseconds"].values():
        assert [*times] == ["stock", "afpn", "lite"]
        assert all(ms > 0 for ms in times.values())
        assert f"{times['lite']:.1f} (" in line
    neck, model = row["milliseconds"].values()
    assert all(neck[name] < model[name] for name in neck)


@pytest.mark.parametrize("option", ["--export", "--time", "--json=x.json"])
def test_options_that_go_with_the_table(option: str, tmp_path: Path) -> None:
    result = afpn("graft", "yolov5n.yaml", option, cwd=tmp_path, fails=True)
    assert "--export, --time and --json go with --table" in result.stderr


def test_an_overrun_is_named() -> None:
    necks = {"afpn": Cost(95, 2.0), "lite": Cost(90, 2.5)}
    times = {"neck": {"stock": 2.0, "lite": 1.0}, "model": {"stock": 8.0, "lite": 10.0}}
    row = Family("yolo11n", "P3-P5", Cost(100, 2.0), necks, {}, times)
    assert [*table([row], timed=True)][-1].endswith("| 2.0, 1.0 (0.50) | 8.0, 10.0 (**1.25**) |")
    assert [*table([replace(row, milliseconds={})], timed=True)][-1].endswith(" | - | - | - |")
    assert row.overruns() == ["yolo11n-afpn-lite.yaml: 1.25 of the stock neck's GFLOPs"]
    assert "90 (0.90), 2.50 (**1.25**)" in [*table([row])][-1]
