"""Comparisons of necks: what is planned, kept and reported; nothing is trained."""

from __future__ import annotations

import json
import multiprocessing
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from afpn_yolo.compare.figures import bubbles, curves, sizes
from afpn_yolo.compare.plan import PAPER, Candidate, Conditions, Run, parse_necks
from afpn_yolo.compare.runner import carry_out, read_curve
from afpn_yolo.compare.store import Records
from afpn_yolo.compare.table import markdown, rows, versus
from afpn_yolo.upstream.locks import claim, share
from afpn_yolo.upstream.train import training_versions

CONDITIONS = Conditions("my.yaml", epochs=3, imgsz=64, batch=4)


def record(ap: float, curve: list[float]) -> dict[str, Any]:
    metrics = dict.fromkeys(("AP", "AP50", "AP75", "APM", "APL"), ap) | {"APS": None}
    return {
        "parameters": 2_452_597,
        "gflops": 6.9,
        "metrics": metrics,
        "curve": {"AP": curve, "AP50": curve},
    }


def finished(path: Path) -> Records:
    """Two necks, two seeds: AFPN starts lower and ends higher."""
    records = Records(path, CONDITIONS)
    pafpn, afpn = NECKS
    records.add(Run(pafpn, 0), record(0.50, [0.30, 0.45, 0.50]))
    records.add(Run(pafpn, 1), record(0.52, [0.32, 0.47, 0.52]))
    records.add(Run(afpn, 0), record(0.54, [0.20, 0.46, 0.54]))
    records.add(Run(afpn, 1), record(0.55, [0.20, 0.47, 0.55]))
    return records


NECKS = (Candidate("PAFPN", "yolov5.yaml", "n"), Candidate("AFPN", "yolov5-afpn.yaml", "n"))


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
        (["yolov5n"], [], "expected .* .yaml or a .pt"),
        (["a=yolov5n.yaml", "a=yolov5s.yaml"], [], "a occurs twice"),
        (["yolov5n-afpn.yaml"], ["n"], "scale in its name"),
        (["a/b=yolov5n.yaml"], [], "^a/b: a label names a folder, which can't have '/' in it"),
        (["a, b=yolov5n.yaml"], [], "^a, b: .* can't have ','"),
        # It would be held against nothing: models are compared within a scale.
        (["start=best.pt", "yolov5.yaml"], ["n"], "best.pt beside --scales: .* leave --scales out"),
    ],
)
def test_words_that_name_no_neck(words: list[str], scales: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_necks(words, scales)


def test_other_conditions_are_refused(tmp_path: Path) -> None:
    finished(tmp_path / "x.json")
    with pytest.raises(ValueError, match=r"x\.json.*epochs: 3 there, 100 here.*--name"):
        Records(tmp_path / "x.json", Conditions("my.yaml", epochs=100, imgsz=64, batch=4))


def test_other_weights_and_settings_are_told_in_words(tmp_path: Path) -> None:
    backbone, extra = {"n": "ab" * 32, "s": "cd" * 32}, {"lr0": 0.1, "amp": False}
    given = replace(CONDITIONS, backbone=backbone, extra=extra)
    Records(tmp_path / "x.json", given).add(Run(NECKS[0], 0), record(0.5, [0.5]))
    with pytest.raises(ValueError, match=r"x\.json was made under other conditions") as refusal:
        Records(tmp_path / "x.json", CONDITIONS)
    said = str(refusal.value).partition("(")[2].partition(")")[0]
    assert said == (
        "backbone: weights abababababab for n, weights cdcdcdcdcdcd for s there, random weights "
        "here; extra: lr0=0.1 amp=False there, nothing here"
    )


def test_conditions_that_another_process_wrote_meanwhile(tmp_path: Path) -> None:
    first = Records(tmp_path / "x.json", CONDITIONS)
    other = Records(tmp_path / "x.json", Conditions("my.yaml", epochs=9, imgsz=64, batch=4))
    first.add(Run(NECKS[0], 0), record(0.5, [0.5]))
    with pytest.raises(ValueError, match="epochs: 3 there, 9 here"):
        other.add(Run(NECKS[0], 0), record(0.6, [0.6]))
    assert first.finished()["PAFPN-n-seed0"]["metrics"]["AP"] == 0.5


def test_a_run_of_another_model_is_not_taken_for_this_one(tmp_path: Path) -> None:
    records = finished(tmp_path / "x.json")
    assert records.has(Run(NECKS[1], 0))
    assert not records.has(Run(NECKS[1], 7))
    with pytest.raises(ValueError, match=r"seed0 is yolov5-afpn\.yaml there, own5\.yaml here"):
        records.has(Run(Candidate("AFPN", "own5.yaml", "n"), 0))
    with pytest.raises(ValueError, match=r"give it another label"):  # else they'd share a row
        records.has(Run(Candidate("AFPN", "own5.yaml", "n"), 7))


def test_a_checkpoint_that_has_changed_under_its_name(tmp_path: Path) -> None:
    records = Records(tmp_path / "x.json", CONDITIONS)
    records.add(Run(Candidate("start", "best.pt", digest="aa" * 32), 0), record(0.5, [0.5]))
    assert records.has(Run(Candidate("start", "best.pt"), 0)), "one that is still to be downloaded"
    with pytest.raises(ValueError, match=r"tensors a{8}\) there, best\.pt \(tensors b{8}\) here"):
        records.has(Run(Candidate("start", "best.pt", digest="bb" * 32), 1))


def test_a_folder_with_a_run_under_other_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reached(Exception):
        pass

    def train(*_: object) -> None:
        raise Reached

    monkeypatch.setattr("afpn_yolo.compare.runner.train", train)
    pafpn, afpn = (Run(neck, 0) for neck in NECKS)
    others = Conditions("my.yaml", epochs=9, imgsz=64, batch=4)
    for conditions in (others, CONDITIONS):  # the first came to nothing, as with a mistaken --set
        with pytest.raises(Reached):
            carry_out(pafpn, conditions, tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "last.pt").touch()
    known = replace(CONDITIONS, data_digest="ab")
    with pytest.raises(Reached):  # goes on
        carry_out(pafpn, known, tmp_path)
    kept = json.loads((tmp_path / "conditions.json").read_text())
    assert kept["data_digest"] is None, "begun on nobody knows which state of the data"
    assert kept["versions"] == [training_versions()]
    monkeypatch.setattr("afpn_yolo.compare.runner.training_versions", lambda: {"torch": "9"})
    with pytest.raises(Reached):
        carry_out(pafpn, known, tmp_path)
    kept = json.loads((tmp_path / "conditions.json").read_text())
    assert kept["versions"] == [training_versions(), {"torch": "9"}]
    with pytest.raises(ValueError, match=r"epochs: 3 there, 9 here.*remove that folder"):
        carry_out(pafpn, others, tmp_path)
    with pytest.raises(ValueError, match=r"model: yolov5\.yaml there, yolov5-afpn\.yaml here"):
        carry_out(afpn, CONDITIONS, tmp_path)
    (tmp_path / "conditions.json").unlink()
    with pytest.raises(ValueError, match="nothing says how it was made"):
        carry_out(pafpn, CONDITIONS, tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"runs": []}', '{"conditions": {}, "runs": [1]}'])
def test_a_foreign_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"x\.json is no result"):
        Records(tmp_path / "x.json", CONDITIONS)


def _add(path: Path, seed: int) -> None:
    Records(path, CONDITIONS).add(Run(NECKS[0], seed), record(0.5, [0.5]))


def test_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.starmap(_add, [(path, seed) for seed in range(16)])
    assert len(Records(path, CONDITIONS).finished()) == 16


def test_a_run_is_claimed_once(tmp_path: Path) -> None:
    with claim(tmp_path) as first, claim(tmp_path) as second:
        assert (first, second) == (True, False)
    with claim(tmp_path) as again:
        assert again


def test_a_run_whose_process_was_stopped_is_done_after_the_others(
    tmp_path: Path,
) -> None:
    folders = {name: tmp_path / name for name in ("stopped", "alive", "free")}
    done: list[str] = []
    with claim(folders["alive"]), ExitStack() as other:
        other.enter_context(claim(folders["stopped"]))

        def do(name: str) -> None:
            done.append(name)
            other.close()  # the other process comes to its end

        assert share(folders, do) == ["alive"]
    assert done == ["free", "stopped"]


def test_table(tmp_path: Path) -> None:
    table = rows(NECKS, finished(tmp_path / "x.json").finished())
    text = markdown(table, {"data": "my.yaml", "epochs": 3})
    assert "| PAFPN-n | 2 | 2,452,597 | 6.90 | 51.0 ± 1.4 |" in text
    assert "seeds; GFLOPs at the size of these images. data=my.yaml" in text
    assert "| AFPN-n | 2 | 2,452,597 | 6.90 | 54.5 ± 0.7 |" in text
    assert " - | " in text  # no small objects, no figure
    assert versus(table) == [
        "AFPN-n against PAFPN-n: +3.5 AP at the end; lowest -11.0 at epoch 1; "
        "ahead for good from epoch 2 (curves of the means)."
    ]


def test_a_neck_that_stays_behind(tmp_path: Path) -> None:
    records = Records(tmp_path / "x.json", CONDITIONS)
    records.add(Run(NECKS[0], 0), record(0.5, [0.4, 0.5]))
    records.add(Run(NECKS[1], 0), record(0.4, [0.5, 0.4]))
    (line,) = versus(rows(NECKS, records.finished()))
    assert "-10.0 AP at the end" in line
    assert "behind at the last epoch" in line


def test_a_neck_that_is_level_throughout(tmp_path: Path) -> None:
    records = Records(tmp_path / "x.json", CONDITIONS)
    for neck in NECKS:
        records.add(Run(neck, 0), record(0.5, [0.5, 0.5]))
    (line,) = versus(rows(NECKS, records.finished()))
    assert "never behind" in line


def test_figures_show_every_neck(tmp_path: Path) -> None:
    table = rows(NECKS, finished(tmp_path / "x.json").finished())
    for draw in (bubbles, curves, sizes):
        draw(table).savefig(tmp_path / "one.png")
        draw(table[:1]).savefig(tmp_path / "other.png")
        one, other = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("one", "other"))
        assert one is not None
        assert other is not None
        colours = [len(np.unique(image @ [1, 256, 65536])) for image in (one, other)]
        assert colours[0] > colours[1]


def test_seconds_of_a_resumed_training(tmp_path: Path) -> None:
    head = "epoch,time,metrics/mAP50(B),metrics/mAP50-95(B)\n"
    (tmp_path / "results.csv").write_text(head + "1,10,0,0\n2,20,.5,.2\n3,7,.6,.3\n4,15,.7,.4\n")
    seconds, curve = read_curve(tmp_path / "results.csv")
    assert seconds == 35
    assert curve["AP"] == [0, 0.2, 0.3, 0.4]


def test_an_epoch_that_a_killed_training_repeats_counts_once(tmp_path: Path) -> None:
    head = "epoch,time,metrics/mAP50(B),metrics/mAP50-95(B)\n"
    (tmp_path / "results.csv").write_text(head + "1,10,0,0\n2,20,.5,.2\n2,7,.6,.25\n3,15,.7,.4\n")
    seconds, curve = read_curve(tmp_path / "results.csv")
    assert seconds == 35  # all of it was spent
    assert curve["AP"] == [0, 0.25, 0.4]


def test_training_and_evaluation_call_one_version_the_same() -> None:
    """torch's own name of its version has its build, `+cu130`; an installed package's hasn't."""
    from afpn_yolo.evaluation.evaluate import _versions

    assert training_versions().items() <= _versions().items()
