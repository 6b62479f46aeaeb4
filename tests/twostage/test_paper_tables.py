"""The paper's tables: their rows, and that compare's runner trains them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from afpn_yolo.cli.__main__ import main
from afpn_yolo.twostage import paper_tables
from afpn_yolo.twostage.config import TrainConfig
from afpn_yolo.twostage.paper_tables import TABLES, rows_of
from tests.compare.test_plan import result


def test_rows_are_the_papers() -> None:
    configs = [TrainConfig(**row) for rows in TABLES.values() for row in rows.values()]
    assert {config.epochs for config in configs} == {12, 24, 36}
    assert len({json.dumps(one.as_dict()) for one in configs}) == len(configs) - 3  # FPN, AFPN x 3


def test_with_epochs_of_their_own_schedules_are_no_rows() -> None:
    rows = rows_of("III", "resnet18", 5)
    assert [*rows] == ["Faster FPN", "Faster AFPN", "Dynamic FPN", "Dynamic AFPN"]
    assert {row["epochs"] for row in rows.values()} == {5}
    assert {row["backbone"] for row in rows.values()} == {"resnet18"}
    for table in ("I", "II", "V-rcnn"):
        assert [*rows_of(table, epochs=5)] == [*TABLES[table]]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """The trainings that would have been run."""
    configs: list[TrainConfig] = []

    def train(config: TrainConfig, folder: Path, *_: object, resume: bool) -> None:
        assert resume
        (folder / "last.pt").touch()
        configs.append(config)

    monkeypatch.setattr(paper_tables, "train", train)
    monkeypatch.setattr(paper_tables, "record_of", lambda last: result(0.25, [0.1, 0.25]))
    return configs


def test_a_table_is_trained_once_and_refuses_other_conditions(
    trained: list[TrainConfig],
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = tmp_path / "start.pth"
    torch.save(resnet18().state_dict(), weights)
    words = ["compare", "--table", "V-rcnn", "--data", str(small_data), "--out", str(tmp_path)]
    words += ["--project", str(tmp_path / "runs"), "--name", "table", "--backbone", str(weights)]
    words += ["--resnet", "resnet18", "--epochs", "2", "--imgsz", "320"]
    words += ["--set", "box_nms_thresh=0.6", "lr=0.02", "amp=true"]
    assert main([*words, "--seeds", "0"]) == 0
    assert [config.fusion for config in trained] == ["sum", "concat", "asff"]
    assert main([*words, "--seeds", "0", "1"]) == 0
    assert [config.seed for config in trained] == [0] * 3 + [1] * 3
    config = trained[-1]
    assert (config.backbone, config.epochs, config.batch, config.lr) == ("resnet18", 2, 8, 0.02)
    assert (config.min_size, config.max_size, config.amp) == ((320,), 320, True)
    assert config.options == {"box_nms_thresh": 0.6}
    records = json.loads((tmp_path / "table.json").read_text())["runs"]
    assert {record["label"] for record in records} == {"sum", "concat", "ASFF"}
    assert {record["conditions"]["batch"] for record in records} == {8}
    assert records[0]["conditions"]["model"]["fusion"] == "sum"
    text = (tmp_path / "table.md").read_text()
    assert "25.0" in text
    assert "No verdict" not in text, "such a table has no model without a neck"

    capsys.readouterr()
    assert main([*words, "--batch", "4"]) == 2
    assert "batch" in capsys.readouterr().err
    torch.save(resnet18().state_dict(), weights)  # other tensors under the same name
    assert main([*words, "--seeds", "2"]) == 2
    assert "weights" in capsys.readouterr().err
    assert len(trained) == 6
