"""Train and evaluate one run; go on where an interrupted one stopped."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from afpn_yolo.base.files import write_json
from afpn_yolo.base.records import DIGEST, TRAINED_WITH
from afpn_yolo.compare.plan import Candidate, Conditions, Run, differences
from afpn_yolo.compare.store import Record
from afpn_yolo.evaluation.coco import COLUMNS
from afpn_yolo.evaluation.evaluate import evaluate_model
from afpn_yolo.upstream.scales import trainable_file
from afpn_yolo.upstream.train import cost, train, training_versions

REMEDY = "choose another --name, or remove that folder"
UNKNOWN = {"ultralytics": "unknown"}


def carry_out(
    run: Run,
    conditions: Conditions,
    folder: Path,
    backbone: Path | None = None,
    device: str | None = None,
    workers: int = 8,
    after_epoch: Callable[[], object] | None = None,
) -> Record:
    """Train, unless that was done, then evaluate the last weights.

    The last, not the best: the best epoch is chosen on the data that it is then judged by. Boxes
    are clipped to the image, as Ultralytics does before it saves them for COCO's own tools.

    Args:
        run: Candidate and seed.
        conditions: What all runs share.
        folder: Where Ultralytics keeps this run; what is there is resumed.
        backbone: Checkpoint whose tensors start the backbone of a YAML.
        device: As `yolo` takes it; several GPUs train distributed.
        workers: Processes that load data, per GPU.
        after_epoch: Called after each epoch of training on one device.

    Raises:
        ValueError: When the folder holds a run under other conditions, or of another model.

    Returns:
        Parameters, GFLOPs, seconds, metrics, the curve over epochs, and versions.
    """
    arguments: dict[str, Any] = {
        "data": conditions.data,
        "epochs": conditions.epochs,
        "imgsz": conditions.imgsz,
        "batch": conditions.batch,
        "seed": run.seed,
        "workers": workers,
        "patience": 0,  # all runs equally long
        "plots": False,
    } | conditions.extra
    neck, split = run.neck, str(conditions.extra.get("split", "val"))
    if backbone and not neck.model.endswith(".pt"):
        arguments["pretrained"] = str(backbone)
    kept = _keep_to(folder, neck, asdict(conditions))
    model = trainable_file(neck.model, neck.scale, folder)
    last = train(model, folder, arguments, device, after_epoch)
    report = evaluate_model(
        last, conditions.data, conditions.imgsz, split, device=device, clip=True
    )
    parameters, gflops = cost(last, conditions.imgsz)
    seconds, curve = read_curve(folder / "results.csv")
    return {
        "parameters": parameters,
        "gflops": round(gflops, 4),
        "seconds": round(seconds),
        "metrics": {**{key: report[key] for key in COLUMNS}, "per_class": report["per_class"]},
        "images": report["images"],
        "instances": report["instances"],
        "curve": curve,
        "area": report["area"],  # which area of an object its size goes by
        "versions": report["versions"],
        TRAINED_WITH: kept["versions"],
        DIGEST: kept[DIGEST],
    }


def _keep_to(folder: Path, neck: Candidate, conditions: dict[str, Any]) -> dict[str, Any]:
    """Write down what a folder is for, and with which versions it is trained.

    Returns:
        What stands there now. `versions` are several where a run goes on under others, and the
        data's digest is None where the run was begun before it was kept.

    Raises:
        ValueError: When a run in it is something else.
    """
    path = folder / "conditions.json"
    versions = [training_versions()]
    if any((folder / "weights").glob("*.pt")):
        there = _kept(path)
        _check_kept(folder, there, neck, conditions)
        before = there.get("versions", [UNKNOWN])
        versions = before if versions[0] in before else [*before, *versions]
        conditions = {**conditions, DIGEST: there.get(DIGEST)}
    # Nothing has been trained under what else stood there before.
    kept = {"neck": asdict(neck), **conditions, "versions": versions}
    write_json(path, kept)
    return kept


def _kept(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ValueError(
            f"{path.parent} holds a run of which nothing says how it was made; {REMEDY}"
        )
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _check_kept(
    folder: Path, there: dict[str, Any], neck: Candidate, conditions: dict[str, Any]
) -> None:
    different = differences(there, conditions)
    trained = Candidate.read(there.get("neck", {"label": "", "model": "?"}))
    if not trained.is_model_of(neck):
        different.append(f"model: {trained} there, {neck} here")
    if different:
        raise ValueError(
            f"{folder} holds this run under other conditions ({'; '.join(different)}); {REMEDY}"
        )


def read_curve(path: Path) -> tuple[float, dict[str, list[float]]]:
    """Seconds of training, and AP and AP50 after each epoch, from Ultralytics' `results.csv`."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = [{k.strip(): float(v) for k, v in line.items()} for line in csv.DictReader(file)]
    seconds, before = 0.0, 0.0
    for line in lines:
        # A resumed training counts from zero again.
        seconds += line["time"] - (before if line["time"] >= before else 0.0)
        before = line["time"]
    # A stock model that was killed before its checkpoint was written has its last epoch twice.
    lines = [*{line["epoch"]: line for line in lines}.values()]
    return seconds, {
        "AP": [line["metrics/mAP50-95(B)"] for line in lines],
        "AP50": [line["metrics/mAP50(B)"] for line in lines],
    }
