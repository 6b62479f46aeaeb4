"""The paper's tables of two-stage detectors: their rows, and the training of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from afpn_yolo.compare.plan import Candidate, Run
from afpn_yolo.compare.runner import AfterEpoch
from afpn_yolo.evaluation.records import DIGEST, MODEL, Result
from afpn_yolo.twostage.config import TrainConfig
from afpn_yolo.twostage.train import WEIGHTS_DIGEST, conditions_of, record_of, train

OF_ROW = ("detector", "neck", "backbone", "upsample", "fusion", "p6", "epochs")
"""What a row of a table decides; all else is the same in every row."""

Row = Mapping[str, Any]
TABLES: dict[str, dict[str, Row]] = {
    "I": {
        "FPN": {"neck": "fpn", "epochs": 36},
        "PAFPN": {"neck": "pafpn", "epochs": 36},
        "AFPN": {"epochs": 36},
        "AFPN + CARAFE": {"upsample": "carafe", "epochs": 36},
    },
    "II": {
        f"{neck.upper()} R-{depth}": {"backbone": f"resnet{depth}", "neck": neck, "epochs": 36}
        for depth in (50, 101)
        for neck in ("fpn", "afpn")
    },
    "III": {  # 12 and 24 epochs are called 1x and 2x
        f"{detector.capitalize()} {neck.upper()} {epochs // 12}x": {
            "detector": detector,
            "neck": neck,
            "epochs": epochs,
        }
        for epochs in (12, 24)
        for detector in ("faster", "dynamic")
        for neck in ("fpn", "afpn")
    },
    "V-rcnn": {
        label: {"fusion": label.lower(), "epochs": 36} for label in ("sum", "concat", "ASFF")
    },
}
"""By the paper's numbers: label -> settings. The paper's Table V is of two-stage detectors; here V
is that of YOLO."""


def rows_of(table: str, backbone: str | None = None, epochs: int | None = None) -> dict[str, Row]:
    """The rows of one of `TABLES` that are trained.

    Args:
        table: Its name.
        backbone: In place of the rows' ResNets.
        epochs: In place of the rows' schedules. Rows that differ in nothing else would be one
            training then, so they are one row, without the schedule in its label.
    """
    rows: dict[str, Row] = {}
    for label, row in TABLES[table].items():
        if backbone:
            row = {**row, "backbone": backbone}
        if epochs:
            row = {**row, "epochs": epochs}
            label = label.removesuffix(" 1x").removesuffix(" 2x")
        rows.setdefault(label, row)
    return rows


@dataclass(frozen=True)
class TableRuns:
    """The rows of a table x seeds; it trains them for `compare.runner.Comparison`.

    Attributes:
        rows: See `rows_of`.
        base: What all rows share: data, sizes of images, batch, and so on.
        device: See `train`.
        workers: Processes that load images, per GPU.
    """

    rows: Mapping[str, Row]
    base: TrainConfig
    device: str | None = None
    workers: int = 4

    def plan(self, seeds: Sequence[int], with_data: bool = True) -> list[Run]:
        """One run of every row for each seed, with its conditions; `with_data`, those of the data.

        Raises:
            EvaluationError: When the data can't be read.
        """
        shared = conditions_of(self.base, with_data)
        weights = shared.pop(WEIGHTS_DIGEST) or self.base.weights
        shared = {k: v for k, v in shared.items() if k not in (*OF_ROW, "seed", "weights")}
        shared = {k: v for k, v in shared.items() if k == DIGEST or v not in (None, False, {})}
        shared["backbone"] = {"": weights} if weights else {}
        runs = []
        for seed in dict.fromkeys(seeds):  # after the first round every row has been seen once
            for label in self.rows:
                config = self._config(label)
                model = {key: getattr(config, key) for key in OF_ROW} | {"steps": [*config.steps]}
                runs.append(Run(Candidate(label, label), seed, {**shared, MODEL: model}))
        return runs

    def _config(self, label: str, seed: int = 0) -> TrainConfig:
        return replace(self.base, **self.rows[label], seed=seed)

    def __call__(self, run: Run, folder: Path, after_epoch: AfterEpoch) -> Result:
        """Train a row, from wherever an earlier call was stopped."""
        config = self._config(run.neck.label, run.seed)
        train(config, folder, self.device, self.workers, resume=True)
        record = record_of(folder / "last.pt")
        return cast(Result, {k: v for k, v in record.items() if k in Result.__annotations__})
