"""The paper's tables: their rows, and that a table goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.cli.__main__ import main
from afpn_yolo.compare.results import notes
from afpn_yolo.twostage import paper_tables
from afpn_yolo.twostage.counts import count
from afpn_yolo.twostage.data import Source
from afpn_yolo.twostage.design import Design
from afpn_yolo.twostage.plan import Plan
from afpn_yolo.twostage.provenance import provenance
from afpn_yolo.twostage.train import Outcome

BASE = Plan(Source("data.yaml", "data.yaml"), batch=4)


def test_rows_are_the_papers() -> None:
    rows = {
        name: [entry.label for entry in entries] for name, entries in paper_tables.TABLES.items()
    }
    assert rows == {
        "I": ["FPN", "PAFPN", "AFPN", "AFPN + CARAFE"],
        "II": ["FPN R-50", "AFPN R-50", "FPN R-101", "AFPN R-101"],
        "III": [
            f"{name} {neck} {schedule}"
            for schedule in ("1x", "2x")
            for name in ("Faster", "Dynamic")
            for neck in ("FPN", "AFPN")
        ],
        "V-rcnn": ["sum", "concat", "ASFF"],
    }
    plans = [
        paper_tables.plan_of(entry, BASE, 3, None, None)
        for entries in paper_tables.TABLES.values()
        for entry in entries
    ]
    assert {plan.schedule.epochs for plan in plans} == {12, 24, 36}
    assert {plan.batch for plan in plans} == {4}
    assert {plan.seed for plan in plans} == {3}
    assert len({json.dumps(plan.as_dict()) for plan in plans}) == len(plans) - 3  # FPN, AFPN thrice


def test_with_epochs_of_their_own_schedules_are_no_rows(
    trained: list[Plan], tmp_path: Path
) -> None:
    given: dict[str, Any] = {"out": tmp_path / "table.json", "runs": tmp_path}
    records = paper_tables.carry_out("III", BASE, **given, backbone="resnet18", epochs=5)
    labels = ["Faster FPN", "Faster AFPN", "Dynamic FPN", "Dynamic AFPN"]
    assert [record["label"] for record in records.values()] == labels
    designs = [(plan.design.dynamic, plan.design.neck) for plan in trained]
    assert designs == [(False, "fpn"), (False, "afpn"), (True, "fpn"), (True, "afpn")]
    assert {plan.schedule.epochs for plan in trained} == {5}
    for table in ("I", "II", "V-rcnn"):
        assert paper_tables.rows_of(table, 5) == paper_tables.TABLES[table]


def test_every_row_is_another_detector() -> None:
    entries = paper_tables.TABLES["I"] + paper_tables.TABLES["V-rcnn"]
    counted = {entry.label: count(entry.design).parameters for entry in entries}
    assert counted["AFPN"] == counted["ASFF"]
    assert counted["sum"] < counted["ASFF"] < counted["concat"]
    assert counted["FPN"] < counted["PAFPN"]
    r101 = count(paper_tables.TABLES["II"][3].design)
    assert r101.parameters / 1e6 == pytest.approx(68.8, rel=0.01)
    assert r101.gmacs == pytest.approx(119.7, rel=0.01)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that would have been trained."""
    seen: list[Plan] = []
    scores = dict.fromkeys(("AP", "AP50", "AP75", "APS", "APM", "APL", "AR100"), 0.25)
    line: dict[str, Any] = {"AP": 0.25, "seconds": 2.0}

    def fake(plan: Plan, folder: Path, *_: object, resume: bool) -> None:
        assert resume
        if plan.design.fusion == "concat" and len(seen) < 3:
            raise KeyboardInterrupt
        seen.append(plan)

    def outcome(last: Path) -> Outcome:
        made = provenance("ab" * 32)
        return Outcome(last, {**scores, "per_class": {}}, {0: "cat"}, [line, line], made)

    monkeypatch.setattr(paper_tables, "train", fake)
    monkeypatch.setattr(paper_tables, "source_digest", lambda source: "ab" * 32)
    monkeypatch.setattr(paper_tables, "outcome_of", outcome)
    return seen


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """Where a small table goes, and what makes it small."""
    out = tmp_path / "table.json"
    return {"out": out, "runs": tmp_path, "backbone": "resnet18", "epochs": 2}


def test_a_table_goes_on_where_it_stopped(trained: list[Plan], given: dict[str, Any]) -> None:
    out = given["out"]
    with pytest.raises(KeyboardInterrupt):
        paper_tables.carry_out("V-rcnn", BASE, **given)
    assert [*json.loads(out.read_text())["runs"]] == ["sum-seed0"]
    trained += [BASE] * 2  # the next one is not interrupted
    told: list[int] = []
    records = paper_tables.carry_out(
        "V-rcnn", BASE, **given, seeds=(0, 1), finished=lambda records: told.append(len(records))
    )
    assert told == [2, 3, 4, 5, 6]
    assert json.loads(out.read_text())["runs"] == records
    assert {record["label"] for record in records.values()} == {"sum", "concat", "ASFF"}
    assert {record["seed"] for record in records.values()} == {0, 1}
    one = records["ASFF-seed1"]
    assert one["metrics"]["AP"] == 0.25
    assert one["curve"]["AP"] == [0.25, 0.25]
    assert one["gflops"] > 0
    with pytest.raises(ValueError, match=r"sum-seed0 under other conditions \(batch: 4 there, 8"):
        paper_tables.carry_out("V-rcnn", replace(BASE, batch=8), **given)


def test_two_processes_share_a_table(
    trained: list[Plan], given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained += [BASE] * 3
    others: list[Path] = []

    def train_beside_another(plan: Plan, folder: Path, *_: object, resume: bool) -> None:
        if not others:  # another process comes by while this one trains its first row
            others.append(folder)
            paper_tables.carry_out("V-rcnn", BASE, **given)
        trained.append(plan)

    monkeypatch.setattr(paper_tables, "train", train_beside_another)
    records = paper_tables.carry_out("V-rcnn", BASE, **given)
    assert [*records] == ["concat-seed0", "ASFF-seed0", "sum-seed0"]
    assert [plan.design.fusion for plan in trained[3:]] == ["concat", "asff", "sum"]


def test_other_data_are_refused_and_other_versions_marked(
    trained: list[Plan], given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained += [BASE] * 3
    records = paper_tables.carry_out("V-rcnn", BASE, **given)
    assert {record["data_digest"] for record in records.values()} == {"ab" * 32}
    told = " ".join(notes(cast(Any, [*records.values()])))
    assert "torchvision" in told
    assert "Different versions" not in told

    done = len(trained)
    monkeypatch.setattr(paper_tables, "source_digest", lambda source: "cd" * 32)
    with pytest.raises(ValueError, match=r"sum-seed0 under other conditions \(images or labels"):
        paper_tables.carry_out("V-rcnn", BASE, **given, seeds=(1,))
    assert len(trained) == done

    def gone(source: Source) -> str:
        raise EvaluationError("data.yaml: no such file")

    monkeypatch.setattr(paper_tables, "source_digest", gone)
    assert len(paper_tables.carry_out("V-rcnn", BASE, **given)) == 3, (
        "a finished table needs no data"
    )
    with pytest.raises(EvaluationError, match="no such file"):
        paper_tables.carry_out("V-rcnn", BASE, **given, seeds=(1,))


def test_the_command(
    trained: list[Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained += [BASE] * 3
    out = tmp_path / "results"
    words = ["compare", "--table", "V-rcnn", "--data", "my.yaml", "--out", str(out)]
    more = ["--backbone", "none", "--epochs", "2", "--imgsz", "320", "--resnet", "resnet18"]
    more += ["--project", str(tmp_path), "--seeds", "0", "1"]
    more += ["--set", "box_nms_thresh=0.6", "lr=0.02", "clip=10", "amp=true"]
    assert main([*words, *more]) == 0
    plan = trained[-1]
    assert plan.design == Design("resnet18", options={"box_nms_thresh": 0.6})
    assert (plan.batch, plan.seed, plan.schedule.epochs) == (8, 1, 2)
    assert (plan.rate, plan.clip, plan.half, plan.momentum) == (0.02, 10, True, 0.9)
    assert (plan.sides.shorter, plan.sides.longest) == ((320,), 320)
    assert plan.weights_backbone is None
    text = (out / "my-V-rcnn.md").read_text()
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][2:5] == [
        "| sum",
        "| concat",
        "| ASFF",
    ]
    made = {"my-V-rcnn.json", "my-V-rcnn.html", "my-V-rcnn-bubbles.png", "my-V-rcnn-curves.png"}
    assert made <= {path.name for path in out.iterdir()}
    assert "No verdict" not in text, "such a table has no model without a neck"
    given = [*words, *more, "--seeds", "0", "--backbone", "IMAGENET1K_V1", "--name", "given"]
    assert main(given) == 0
    assert "IMAGENET1K_V1" in (out / "given.html").read_text()
    for wrong, message in (
        (["--quick"], "has rows of its own: leave out --quick"),
        (["--backbone", "a.pth", "b.pth"], "starts from one --backbone"),
    ):
        assert main([*words, *wrong]) == 2
        assert message in capsys.readouterr().err
    assert main(["compare", "--data", "my.yaml", "--resnet", "resnet18"]) == 2
    assert "--resnet is for the two-stage tables" in capsys.readouterr().err


def test_a_plan_comes_back_from_json() -> None:
    entry = paper_tables.TABLES["I"][3]
    plan = paper_tables.plan_of(entry, BASE, 1, "resnet18", 7)
    assert Plan.of(json.loads(json.dumps(plan.as_dict()))) == plan


def test_several_devices_are_torchruns(
    trained: list[Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], env: dict[str, str], check: bool) -> Any:
        ran.append((command, env))
        return type("Done", (), {"returncode": len(ran) - 1})

    monkeypatch.setattr("subprocess.run", run)
    with pytest.raises(ValueError, match="training on 2 devices ended with exit code 1"):
        paper_tables.carry_out(
            "V-rcnn", BASE, tmp_path / "t.json", tmp_path, device="0,3", backbone="resnet18"
        )
    assert not trained
    command, environment = ran[0]
    assert "--nproc-per-node=2" in command
    assert environment["CUDA_VISIBLE_DEVICES"] == "0,3"
    job = json.loads(Path(command[-1]).read_text())
    assert Plan.of(job["plan"]).design.fusion == "sum"
    assert torch.distributed.is_available()
