"""Comparisons of necks: what is planned, stored and run; nothing is trained."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from filelock import FileLock

from afpn_yolo.compare.plan import (
    PAPER,
    Candidate,
    Run,
    default_name,
    differences,
    parse_necks,
    quick_schedule,
)
from afpn_yolo.compare.runner import Comparison
from afpn_yolo.compare.table import rows, versus
from afpn_yolo.compare.yolo import check_settings, read_curve
from afpn_yolo.evaluation.coco import COLUMNS
from afpn_yolo.evaluation.records import Record, Result
from afpn_yolo.plots.charts import LEAST_SPAN, bubbles, curves, pareto_front
from afpn_yolo.upstream.locks import share
from afpn_yolo.upstream.train import read_settings, training_versions

CONDITIONS = {"data": "my.yaml", "epochs": 3, "imgsz": 64, "batch": 4, "model": "ab"}
NECKS = (Candidate("PAFPN", "yolov5.yaml", "n"), Candidate("AFPN", "yolov5-afpn.yaml", "n"))


def result(ap: float, curve: list[float]) -> Result:
    metrics: Any = dict.fromkeys(COLUMNS, ap) | {"APS": None}
    return {
        "parameters": 2_452_597,
        "gflops": 6.9,
        "metrics": metrics,
        "curve": {"AP": curve, "AP50": curve},
        "versions": {},
    }


def record(neck: Candidate, seed: int, ap: float, curve: list[float], **more: Any) -> Record:
    run = {"run": Run(neck, seed, {}).name, **vars(neck), "seed": seed, "trained_with": []}
    whole: Any = {**run, **result(ap, curve), "conditions": CONDITIONS | more}
    return cast(Record, whole)


def records(*all: Record) -> dict[str, Record]:
    return {one["run"]: one for one in all}


TWO_AND_TWO = records(  # AFPN starts lower and ends higher
    record(NECKS[0], 0, 0.50, [0.30, 0.45, 0.50]),
    record(NECKS[0], 1, 0.52, [0.32, 0.47, 0.52]),
    record(NECKS[1], 0, 0.54, [0.20, 0.46, 0.54]),
    record(NECKS[1], 1, 0.55, [0.20, 0.47, 0.55]),
)


@pytest.mark.parametrize(
    ("words", "scales", "files"),
    [
        (PAPER["IV"], ["n", "s"], "yolov5n yolov5n-afpn yolov5s yolov5s-afpn"),
        (PAPER["V"], ["s"], "yolov5s-afpn-sum yolov5s-afpn-concat yolov5s-afpn"),
        (["a=yolov5n-afpn.yaml", "yolov5s.yaml"], [], "yolov5n-afpn yolov5s"),
        (["my/nets/yolo3-own.yaml"], ["m"], "my/nets/yolo3m-own"),
        # Ultralytics would read no scale from own-3m, or not find the file again.
        (["my/nets/own-3.yaml"], ["m"], "my/nets/own-3"),
        (["big2small-yolov5.yaml"], ["m"], "big2small-yolov5"),
    ],
)
def test_necks_at_scales(words: list[str], scales: list[str], files: str) -> None:
    assert [neck.file for neck in parse_necks(words, scales)] == [
        f"{name}.yaml" for name in files.split()
    ]


@pytest.mark.parametrize(
    ("words", "scales", "message"),
    [
        ("yolov5n", "", "expected"),
        ("a=yolov5n.yaml a=yolov5s.yaml", "", "twice"),
        ("yolov5n-afpn.yaml", "n", "scale in its name"),
        ("a/b=yolov5n.yaml", "", "names a folder"),
        ("start=best.pt yolov5.yaml", "n", "beside --scales"),  # it has no others of its scale
    ],
)
def test_words_that_name_no_neck(words: str, scales: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_necks(words.split(), scales)


def test_schedule() -> None:
    images = (1, 292, 448, 2000, 4000, 118287)
    assert [*map(quick_schedule, images)] == [
        *((100, 1), (69, 1), (45, 1), (10, 1), (10, 1), (10, 0.0338))
    ]


def test_two_sets_in_files_of_one_name_have_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fish").mkdir()
    monkeypatch.chdir(tmp_path / "fish")
    assert default_name("sets/birds/data.yaml") == "birds"
    assert default_name("data.yaml") == "fish"
    assert default_name("sets/coco8.yaml") == "coco8"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, 1) for key in ("epochs", "seed", "val", "device", "compile", "single_cls")),
        *(("split", "train"), ("save", False), ("classes", [0]), ("fraction", [0.5, 0.5])),
        ("freeze", ["23.cv2"]),
    ],
)
def test_settings_under_which_runs_could_not_be_compared(key: str, value: object) -> None:
    fair = {"rect": True, "split": "test", "freeze": 10, "fraction": 0.5, "classes": None}
    check_settings(fair)
    with pytest.raises(ValueError, match=key):
        check_settings(fair | {key: value})


def test_settings_are_read_as_yolo_reads_them() -> None:
    words = ("lr0=1e-3", "cache=None", "freeze=[0,1]")
    assert read_settings(words, "--set") == {"lr0": 0.001, "cache": None, "freeze": [0, 1]}
    for word in ("lr0", "lr0=", "lro=1e-3", "cos_lr=maybe", "lr0=2"):
        with pytest.raises(ValueError, match=f"--set {word}"):
            read_settings([word], "--set")


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ({"epochs": 3}, {"epochs": 9}, ["epochs: 3 before, 9 now"]),
        ({"lr0": 0.1}, {}, ["lr0: 0.1 before, not set now"]),
        ({"data_digest": None, "model": "a"}, {"data_digest": "b", "model": None}, []),
        ({"model": {"neck": "fpn", "p6": "pool"}}, {"model": {"neck": "afpn", "p6": "pool"}}, None),
        ({"backbone": {"n": "ab" * 32}}, {"backbone": {}}, None),
    ],
)
def test_differences(before: Any, now: Any, words: list[str] | None) -> None:
    different = differences(before, now)
    assert different == words if words is not None else len(different) == 1
    assert not differences(before, before)


class Trainer:
    """Trains nothing. Leaves a checkpoint, and fails or is interrupted where it is asked to."""

    def __init__(self, **ends: BaseException) -> None:
        self.ends = ends
        self.runs: list[str] = []

    def __call__(self, run: Run, folder: Path, after_epoch: Any) -> Result:
        self.runs.append(run.name)
        (folder / "last.pt").touch()
        for _ in range(run.epochs):
            after_epoch()
        if error := self.ends.get(run.neck.label):
            raise error
        return result(0.5 + run.seed / 100, [0.3, 0.4, 0.5])


def comparison(
    folder: Path,
    train: Trainer | None = None,
    seeds: Sequence[int] = (0,),
    necks: Sequence[Candidate] = NECKS,
    **conditions: Any,
) -> Comparison:
    runs = [Run(neck, seed, CONDITIONS | conditions) for seed in seeds for neck in necks]
    return Comparison("x", folder / "results", folder / "runs", runs, train or Trainer())


@pytest.mark.parametrize(
    ("neck", "seed", "conditions", "message"),
    [
        (NECKS[0], 0, {"epochs": 9}, "epochs: 3 before, 9 now"),
        (NECKS[0], 1, {"model": "cd"}, "PAFPN-n-seed0 .*another model"),  # at another seed
        (Candidate("new", "x.yaml", "n"), 0, {"imgsz": 32}, "imgsz"),  # in another row
    ],
)
def test_runs_under_other_conditions_are_refused(
    neck: Candidate, seed: int, conditions: dict[str, Any], message: str, tmp_path: Path
) -> None:
    for one in NECKS:
        comparison(tmp_path).add(record(one, 0, 0.5, [0.5]))
    other = comparison(tmp_path, seeds=[seed], necks=[neck], **conditions)
    with pytest.raises(ValueError, match=message):
        other.check()
    with pytest.raises(ValueError, match=message):  # another process wrote it meanwhile
        other.add(record(neck, seed, 0.5, [0.5]))
    new = comparison(tmp_path, necks=[Candidate("new", "x.yaml", "n")], model="cd")
    assert new.check() == new.runs


@pytest.mark.parametrize("content", ["", "[]", '{"conditions": {}}', '{"runs": [1]}'])
def test_a_foreign_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"x\.json is no result"):
        comparison(tmp_path).check()


def _add(folder: Path, seed: int) -> None:
    comparison(folder, seeds=[seed]).add(record(NECKS[0], seed, 0.5, [0.5]))


def test_processes_share_a_file(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.starmap(_add, [(tmp_path, seed) for seed in range(16)])
    assert len(comparison(tmp_path).records()) == 16


def test_a_run_whose_process_was_stopped_is_done_after_the_others(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("stopped", "alive", "free")}
    done: list[str] = []
    for folder in folders.values():
        folder.mkdir()
    with FileLock(folders["alive"] / ".lock"), ExitStack() as other:
        other.enter_context(FileLock(folders["stopped"] / ".lock"))

        def do(name: str) -> None:
            done.append(name)
            other.close()  # the other process comes to its end

        assert share(folders, do) == ["alive"]
    assert done == ["free", "stopped"]


def test_every_run_is_done_once_and_one_failure_does_not_cost_the_others(tmp_path: Path) -> None:
    failing = Trainer(PAFPN=ValueError("no"))
    first = comparison(tmp_path, failing, (0, 1))
    assert not list(tmp_path.iterdir()), "nothing is written before it is run"
    line, *_ = first.run()
    assert line == "PAFPN-n-seed0: ValueError: no"
    assert len(failing.runs) == 4
    again = Trainer()
    whole = comparison(tmp_path, again, (0, 1))
    assert not whole.run()
    assert again.runs == ["PAFPN-n-seed0", "PAFPN-n-seed1"]
    assert not whole.check()
    content = json.loads((tmp_path / "results" / "x.json").read_text())
    assert content == whole.content()
    first = content["runs"][0]
    assert first["conditions"] == CONDITIONS
    assert first["trained_with"] == [training_versions()]
    assert {path.name for path in whole.files()} == {
        *("x.json", "x.md", "x.html", "x-bubbles.png", "x-curves.png")
    }


def test_figures_are_drawn_at_the_end_or_when_it_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(
        "afpn_yolo.compare.results.Results.write", lambda self, *_: drawn.append(len(self.table))
    )
    with pytest.raises(KeyboardInterrupt):
        comparison(tmp_path, Trainer(AFPN=KeyboardInterrupt())).run()
    assert drawn == [1]
    assert (tmp_path / "results" / "x.md").exists()


def test_a_folder_with_a_run_under_other_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Trainer(PAFPN=ValueError("stopped"), AFPN=ValueError("stopped"))
    comparison(tmp_path, stopped).run()
    for different in ({"epochs": 9}, {"model": "cd"}):  # the YAML has another neck meanwhile
        (line, _) = comparison(tmp_path, Trainer(), **different).run()
        assert "under other conditions" in line
    versions = training_versions()
    monkeypatch.setattr("afpn_yolo.compare.runner.training_versions", lambda: {"torch": "9"})
    assert not comparison(tmp_path, Trainer()).run()
    (first, _) = comparison(tmp_path, Trainer()).content()["runs"]
    assert first["trained_with"] == [versions, {"torch": "9"}]
    (tmp_path / "results" / "x.json").unlink()
    (tmp_path / "runs" / "PAFPN-n-seed0" / "conditions.json").unlink()
    (line,) = comparison(tmp_path, Trainer()).run()
    assert "unknown conditions" in line


def test_how_trainings_went() -> None:
    """In one measure of AP, the validation's during training: the table has COCO's."""
    assert versus(rows(NECKS, TWO_AND_TWO)) == [
        "AFPN-n against PAFPN-n: +3.5 AP at the last epoch; lowest -11.0 at epoch 1; "
        "ahead for good from epoch 2."
    ]
    flat = [0.5] * 30
    for curve, words in (
        ([*flat[1:], 0.4], "-10.0 AP at the last epoch; lowest -10.0 at epoch 30"),
        ([*flat[:11], *[0.48] * 10, *flat[21:]], "over ten epochs -2.0 from epoch 12 on"),
        (flat, "never behind"),
    ):
        two = records(record(NECKS[0], 0, 0.5, flat), record(NECKS[1], 0, 0.6, curve))
        assert words in versus(rows(NECKS, two))[0]


def test_axes_do_not_magnify_noise() -> None:
    near = records(record(NECKS[0], 0, 0.5, [0.001, 0.002]), record(NECKS[1], 0, 0.501, [0.0, 0.0]))
    for draw in (bubbles, curves):
        (axes,) = draw(rows(NECKS, near)).axes
        low, high = axes.get_ylim()
        assert high - low >= LEAST_SPAN
    ticks = axes.get_xticks()
    assert all(tick == round(tick) for tick in ticks), "there is no epoch 1.5"


def test_the_front_has_what_nothing_beats() -> None:
    assert pareto_front([(2, 20), (1, 10), (3, 15), (1, 12)]) == [(1, 12), (2, 20)]


def test_curve_and_seconds_of_a_resumed_training(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    for lines, spent, curve in (
        ("1,10,0,0\n2,20,.5,.2\n3,7,.6,.3\n4,15,.7,.4\n", 35, [0, 0.2, 0.3, 0.4]),
        ("1,10,0,0\n2,20,.5,.2\n2,7,.6,.25\n3,15,.7,.4\n", 25, [0, 0.25, 0.4]),  # 2 repeated
    ):
        path.write_text(f"epoch,time,metrics/mAP50(B),metrics/mAP50-95(B)\n{lines}")
        seconds, read = read_curve(path)
        assert seconds == spent
        assert read["AP"] == curve
