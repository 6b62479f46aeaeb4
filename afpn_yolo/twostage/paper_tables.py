"""The paper's tables of two-stage detectors: their rows, and trainings of all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import BaseFileLock

from afpn_yolo.base.errors import EvaluationError
from afpn_yolo.base.files import write_json
from afpn_yolo.evaluation.coco import COLUMNS
from afpn_yolo.evaluation.records import DIGEST, TRAINED_WITH
from afpn_yolo.twostage.design import Design
from afpn_yolo.twostage.plan import Plan, differences
from afpn_yolo.twostage.provenance import changed, source_digest
from afpn_yolo.twostage.report import figures
from afpn_yolo.twostage.schedule import schedule_of
from afpn_yolo.twostage.train import LAST, outcome_of, train
from afpn_yolo.upstream.locks import lock_of, share

Record = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A row: what it is called, its detector, and one of `SCHEDULES`."""

    label: str
    design: Design
    schedule: str


def _table_iii() -> tuple[Entry, ...]:
    """Faster and Dynamic R-CNN, with FPN and with AFPN, at 1x and 2x."""
    return tuple(
        Entry(f"{name} {neck.upper()} {schedule}", Design(neck=neck, dynamic=dynamic), schedule)
        for schedule in ("1x", "2x")
        for name, dynamic in (("Faster", False), ("Dynamic", True))
        for neck in ("fpn", "afpn")
    )


TABLES: dict[str, tuple[Entry, ...]] = {
    "I": (
        Entry("FPN", Design(neck="fpn"), "36"),
        Entry("PAFPN", Design(neck="pafpn"), "36"),
        Entry("AFPN", Design(), "36"),
        Entry("AFPN + CARAFE", Design(upsample="carafe"), "36"),
    ),
    "II": tuple(
        Entry(f"{neck.upper()} R-{depth}", Design(f"resnet{depth}", neck), "36")
        for depth in (50, 101)
        for neck in ("fpn", "afpn")
    ),
    "III": _table_iii(),
    "V-rcnn": tuple(
        Entry(label, Design(fusion=label.lower()), "36") for label in ("sum", "concat", "ASFF")
    ),
}
"""By the paper's numbers; its Table V is of two-stage detectors, ours of YOLO is called V."""


def rows_of(table: str, epochs: int | None = None) -> tuple[Entry, ...]:
    """The rows of one of `TABLES` that are trained.

    Args:
        table: Its name.
        epochs: In place of the schedules. Rows that differ in their schedule alone would be one
            training then, so they are one row, without the schedule in its label.
    """
    if epochs is None:
        return TABLES[table]
    rows: dict[str, Entry] = {}
    for entry in TABLES[table]:
        label = entry.label.removesuffix(f" {entry.schedule}")
        rows.setdefault(label, replace(entry, label=label))
    return tuple(rows.values())


def plan_of(entry: Entry, base: Plan, seed: int, backbone: str | None, epochs: int | None) -> Plan:
    """The training of one row.

    Args:
        entry: The row.
        base: What all rows share: data, sizes of images, batch, and so on.
        seed: Of this run.
        backbone: In place of the row's ResNet.
        epochs: In place of the row's schedule.
    """
    design = replace(entry.design, options=base.design.options)
    design = replace(design, backbone=backbone) if backbone else design
    schedule = schedule_of(entry.schedule, epochs)
    return replace(base, design=design, schedule=schedule, seed=seed)


def carry_out(
    table: str,
    base: Plan,
    out: Path,
    runs: Path,
    seeds: Sequence[int] = (0,),
    device: str | None = None,
    workers: int = 4,
    backbone: str | None = None,
    epochs: int | None = None,
    finished: Callable[[dict[str, Record]], None] = lambda records: None,
) -> dict[str, Record]:
    """Train every row of a table, see `rows_of`; what was done before is not done again.

    Several processes may carry out one table: a run that another one is at is left to it.

    Args:
        table: One of `TABLES`.
        base, backbone, epochs: See `plan_of`.
        out: JSON file of the runs that are done. It is written after each.
        runs: Folder of the trainings; each goes on from its last whole epoch.
        seeds: One training of every row for each.
        device: `cpu`, `0`, or several GPUs, `0,1`, that train each row together.
        workers: Processes that load images, per GPU.
        finished: Called with all that is done after every run.

    Returns:
        The runs by their names, with what `afpn compare` keeps of its own: `label`, `seed`,
        `metrics`, `curve`, `parameters`, `gflops`, ...

    Raises:
        ValueError: When `out` has a run under other conditions, or on another state of the data;
            and see `train`.
    """
    # Seeds outside: after the first round every row has been seen once.
    planned = {
        f"{entry.label}-seed{seed}": (entry, plan_of(entry, base, seed, backbone, epochs))
        for seed in seeds
        for entry in rows_of(table, epochs)
    }
    lock = lock_of(out)
    _check(_done(out, lock), {name: plan for name, (_, plan) in planned.items()}, base, out)

    def do(name: str) -> None:
        if name in _done(out, lock):
            return
        entry, plan = planned[name]
        told = _train(plan, runs / name, device, workers)
        row = {"run": name, "label": entry.label, "scale": None, "seed": plan.seed}
        with lock:
            records = _done(out, lock) | {name: row | told}
            write_json(out, {"table": table, "runs": records})
            finished(records)

    share({name: runs / name for name in planned}, do)
    return _done(out, lock)


def _done(out: Path, lock: BaseFileLock) -> dict[str, Record]:
    """The runs that a file has; other processes add theirs."""
    if not out.exists():
        return {}
    with lock:  # Windows can't replace a file while somebody reads it
        records: dict[str, Record] = json.loads(out.read_text(encoding="utf-8"))["runs"]
    return records


def _check(records: dict[str, Record], plans: dict[str, Plan], base: Plan, out: Path) -> None:
    """Refuse what is done already under other conditions, before anything is trained."""
    try:
        digest = source_digest(base.source)
    except EvaluationError:
        if plans.keys() - records.keys():  # a training can't do without its data
            raise
        digest = None  # the table can
    for name, record in records.items():
        different = changed(record, digest)
        if name in plans:
            different = [*differences(record["conditions"], plans[name]), *different]
        if different:
            raise ValueError(
                f"{out} has {name} under other conditions ({'; '.join(different)}); "
                "choose another --name"
            )


def _train(plan: Plan, folder: Path, device: str | None, workers: int) -> Record:
    """Train one row, on one device or on several, and put its figures as a record."""
    if device and "," in device:
        _train_on_several(plan, folder, device, workers)
    else:
        train(plan, folder, device, workers, resume=True)
    told = figures(plan, outcome_of(folder / LAST))
    return {
        "model": str(folder / LAST),
        "parameters": told["parameters"],
        "gflops": 2 * told["gmacs"],
        "seconds": told["seconds"],
        "metrics": {key: told[key] for key in (*COLUMNS, "per_class")},
        "curve": {"AP": [score or 0.0 for score in told["curve"]]},
        "conditions": told["conditions"],
        "versions": told["versions"],
        DIGEST: told.get(DIGEST),
        TRAINED_WITH: told.get(TRAINED_WITH, []),
    }


def _train_on_several(plan: Plan, folder: Path, devices: str, workers: int) -> None:
    """Train with one process on each GPU, started by torchrun.

    Raises:
        ValueError: When they fail; what they say stands above.
    """
    job = folder / "job.json"
    write_json(job, {"plan": plan.as_dict(), "folder": str(folder), "workers": workers})
    count = len(devices.split(","))
    launch = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}")
    command = [sys.executable, *launch, "-m", "afpn_yolo.twostage.job", str(job)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": devices}
    if code := subprocess.run(command, env=environment, check=False).returncode:
        raise ValueError(f"{folder}: the training on {count} devices ended with exit code {code}")
