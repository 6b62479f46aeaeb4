"""Runs of YOLO models: their control, what is planned, and how one is trained and evaluated."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import nn

from afpn_yolo.base.yaml_rows import backbone_rows
from afpn_yolo.compare.plan import CONTROL, Candidate, Run
from afpn_yolo.compare.runner import AfterEpoch
from afpn_yolo.evaluation.coco import COLUMNS
from afpn_yolo.evaluation.evaluate import evaluate_model
from afpn_yolo.evaluation.fingerprint import data_digest, model_digest, tensor_digest
from afpn_yolo.evaluation.records import DIGEST, MODEL, Curve, Result
from afpn_yolo.graft import graft
from afpn_yolo.plugin.lookup import NECK
from afpn_yolo.upstream.loading import find_checkpoint
from afpn_yolo.upstream.models import (
    empty_model,
    load_exactly,
    load_model,
    read_model_yaml,
    read_tensors,
    save_checkpoint,
    trainable_file,
    write_model_yaml,
)
from afpn_yolo.upstream.train import cost, spread_evenly, train


def with_control(necks: Sequence[Candidate], folder: Path) -> list[Candidate]:
    """Add a model without a neck at each scale, unless one has the label `CONTROL`.

    It is the scale's first candidate with 1x1 convolutions for its neck, a YAML in the folder.

    Raises:
        ValueError: When a scale's first candidate is a checkpoint, or can't lose its neck.
    """
    first: dict[str | None, Candidate] = {}
    for neck in necks:
        first.setdefault(neck.scale, neck)
    labelled = {neck.scale for neck in necks if neck.label == CONTROL}
    missing = [neck for scale, neck in first.items() if scale not in labelled]
    return [*necks, *(_control_of(neck, folder) for neck in missing)]


def _control_of(neck: Candidate, folder: Path) -> Candidate:
    if neck.is_checkpoint:
        raise ValueError(
            f"--control: there is none for a checkpoint, {neck.model}; name your own, "
            f"{CONTROL}=MODEL"
        )
    try:
        content = graft(read_model_yaml(neck.model, neck.scale), "none").content
    except ValueError as error:
        raise ValueError(f"--control: {error}; name your own, {CONTROL}=MODEL") from None
    path = folder / f"{NECK.sub('', Path(neck.model).stem)}-none.yaml"
    write_model_yaml(content, path)
    return Candidate(CONTROL, str(path), neck.scale)


OWN = {
    *("data", "epochs", "imgsz", "batch", "seed", "model", "pretrained", "patience"),
    *("device", "workers", "project", "name", "exist_ok", "resume", "save_dir"),
    *("time", "val", "mode", "task", "cfg"),  # with these it would be another comparison
}
"""Arguments of Ultralytics' that a comparison sets itself."""

UNFAIR: Mapping[str, str] = {
    "classes": "the evaluation would count the others, too; write a data YAML of these classes",
    "single_cls": "the evaluation would tell the classes apart; write a data YAML of one class",
    "compile": "it leaves out the last batch of an epoch",
    "distill_model": "the necks would learn from a teacher; a trained start is LABEL=FILE.pt",
    "quantize": "quantization-aware training is no part of a comparison; see afpn quantize",
}
"""Arguments under which necks could not be compared, and why."""


def check_settings(extra: Mapping[str, Any]) -> None:
    """Raise `ValueError` for an argument of Ultralytics under which runs can't be compared."""
    if own := sorted(extra.keys() & OWN):
        raise ValueError(f"{', '.join(own)}: set by the comparison itself, not by --set")
    for key, value in extra.items():
        if reason := _unfair(key, value):
            raise ValueError(f"--set {key}={value}: {reason}")


def _unfair(key: str, value: Any) -> str | None:
    if key in UNFAIR:
        return UNFAIR[key] if value not in (None, False) else None
    if key == "save" and not value:
        return "an interrupted run could not go on"
    if key == "split" and value not in ("val", "test"):
        return "a model is judged on val or test, not on what it was trained on"
    if key == "fraction" and isinstance(value, list):
        return "the evaluation takes all of its images; one number is the share of training images"
    rows = value if isinstance(value, list) else [value or 0]
    if key == "freeze" and not all(type(row) is int for row in rows):
        return "a row by name is another one in each neck; give how many rows of the backbone"
    return None


@dataclass(frozen=True)
class YoloRuns:
    """Necks x seeds under one set of conditions; a `Train` for the runner.

    Attributes:
        necks: What is compared; the others of a scale are held against its first.
        data, epochs, imgsz, batch: As `yolo` takes them. `imgsz`, in pixels, is for training and
            evaluation; `batch` is over all GPUs.
        extra: More of Ultralytics' arguments.
        backbones: For a scale, the file whose backbone starts its YAMLs.
        device, workers: As `yolo` takes them; several GPUs train distributed.
    """

    necks: Sequence[Candidate]
    data: str
    epochs: int
    imgsz: int
    batch: int
    extra: Mapping[str, Any] = field(default_factory=dict)
    backbones: Mapping[str | None, Path] = field(default_factory=dict)
    device: str | None = None
    workers: int = 8

    @property
    def _arguments(self) -> dict[str, Any]:
        shape = {"epochs": self.epochs, "imgsz": self.imgsz, "batch": self.batch}
        return {"data": self.data, **shape, **self.extra}

    @property
    def _split(self) -> str:
        """What the runs are judged on."""
        return str(self.extra.get("split", "val"))

    def plan(self, seeds: Sequence[int], with_data: bool = True) -> list[Run]:
        """The runs, one of every neck for each seed; `with_data` looks at the data, too.

        Raises:
            ValueError: When a setting would make the comparison unfair, a model can't be built, or
                a backbone doesn't fit.
            EvaluationError: When the data can't be opened.
        """
        check_settings(self.extra)
        self._check_frozen()
        models = {neck: self._digest(neck) for neck in self.necks}
        starts = {neck.scale: start for neck in self.necks if (start := self._backbone(neck))}
        conditions = {
            **self._arguments,
            "backbone": {s or "": tensor_digest(b.state_dict()) for s, b in starts.items()},
            DIGEST: data_digest(self.data, ("train", self._split)) if with_data else None,
        }
        # Seeds outside: after the first round every neck has been seen once.
        return [
            Run(neck, seed, {**conditions, MODEL: models[neck]})
            for seed in dict.fromkeys(seeds)
            for neck in self.necks
        ]

    def _digest(self, neck: Candidate) -> str:
        if neck.is_checkpoint:
            return tensor_digest(load_model(find_checkpoint(neck.model)).state_dict())
        return model_digest(neck.model, neck.scale)

    def _backbone(self, neck: Candidate) -> nn.Module | None:
        """A model that is its backbone alone; saved, it serves as `pretrained=`."""
        source = None if neck.is_checkpoint else self.backbones.get(neck.scale)
        if source is None:
            return None
        model: Any = empty_model(neck.model, scale=neck.scale)
        model.model = model.model[: backbone_rows(model)]
        load_exactly(model, read_tensors(source), f"{source} for the backbone of {neck.model}")
        return cast(nn.Module, model)

    def _check_frozen(self) -> None:
        value = self.extra.get("freeze")
        rows = range(value) if isinstance(value, int) else value or []
        for neck in self.necks if rows else ():
            if neck.is_checkpoint:
                backbone = backbone_rows(load_model(find_checkpoint(neck.model)))
            else:
                backbone = len(read_model_yaml(neck.model, neck.scale)["backbone"])
            if wrong := [row for row in rows if not 0 <= row < backbone]:
                raise ValueError(
                    f"--set freeze: row {wrong[0]} is not in {neck.label}'s backbone, which has "
                    f"{backbone} rows; the rows after it differ from neck to neck"
                )

    def __call__(self, run: Run, folder: Path, after_epoch: AfterEpoch) -> Result:
        """Train a run, unless that was done, then evaluate the last weights.

        The last, not the best: the best epoch is chosen on the data that it is then judged by.
        Boxes are clipped to the image, as Ultralytics does before it saves them for COCO's tools.
        """
        arguments: dict[str, Any] = {
            "seed": run.seed,
            "workers": self.workers,
            "patience": 0,  # all runs equally long
            "plots": False,
            **self._arguments,
        }
        if backbone := self._backbone(run.neck):
            digest = run.conditions["backbone"][run.neck.scale or ""]
            # By its content: another process may use another backbone in this folder.
            path = folder.parent / f"backbone-{digest[:12]}.pt"
            if not path.exists():  # Windows replaces no file that a training has open
                save_checkpoint(backbone, path)
            arguments["pretrained"] = str(path)
        if (fraction := arguments.pop("fraction", 1.0)) != 1.0 or isinstance(fraction, int):
            arguments["data"] = spread_evenly(self.data, fraction, folder / "part.yaml")
        model = trainable_file(run.neck.model, run.neck.scale, folder)
        last = train(model, folder, arguments, self.device, after_epoch)
        report = evaluate_model(
            last, self.data, self.imgsz, self._split, device=self.device, clip=True
        )
        parameters, gflops = cost(last, self.imgsz)
        seconds, curve = read_curve(folder / "results.csv")
        return {
            "parameters": parameters,
            "gflops": round(gflops, 4),
            "seconds": round(seconds),
            "metrics": {key: report[key] for key in (*COLUMNS, "instances")},  # type: ignore
            "per_class": report["per_class"],
            "images": report["images"],
            "curve": curve,
            "area": report["area"],
            "versions": report["versions"],
        }


def read_curve(path: Path) -> tuple[float, Curve]:
    """Seconds of training, and AP and AP50 after each epoch, from Ultralytics' `results.csv`.

    An epoch that was trained again, after a damaged checkpoint, counts once.
    """
    epochs: dict[float, dict[str, float]] = {}
    before = 0.0
    with path.open(encoding="utf-8", newline="") as file:
        for words in csv.DictReader(file):
            line = {key.strip(): float(value) for key, value in words.items()}
            # A resumed training counts from zero again.
            seconds = line["time"] - (before if line["time"] >= before else 0.0)
            before = line["time"]
            epochs[line["epoch"]] = line | {"seconds": seconds}
    lines = epochs.values()
    ap, ap50 = ([line[f"metrics/{key}(B)"] for line in lines] for key in ("mAP50-95", "mAP50"))
    return sum(line["seconds"] for line in lines), {"AP": ap, "AP50": ap50}
