"""The loop that trains a two-stage detector: torchvision's recipe, with checkpoints to go on from.

Every epoch draws its random numbers from the seed and its own number. So a training that was
killed gives, once resumed, what it would have given in one go.
"""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler
from tqdm import tqdm

from afpn_yolo.base.files import written_whole
from afpn_yolo.compare.plan import differences
from afpn_yolo.evaluation.coco import COLUMNS
from afpn_yolo.evaluation.fingerprint import tensor_digest
from afpn_yolo.evaluation.records import DIGEST, TRAINED_WITH
from afpn_yolo.twostage import checkpoint
from afpn_yolo.twostage.checkpoint import backbone_weights
from afpn_yolo.twostage.config import TrainConfig
from afpn_yolo.twostage.data import Images, augmentation, class_names, collate, digest_of, read
from afpn_yolo.twostage.detect import evaluate_detector, process_group, rank, world_size
from afpn_yolo.twostage.models import cost
from afpn_yolo.upstream.loading import cores
from afpn_yolo.upstream.train import training_versions

LAST, BEST, TABLE, SERVER = "last.pt", "best.pt", "results.csv", "detections.json"
WEIGHTS_DIGEST = "weights_digest"


def train(
    config: TrainConfig,
    folder: Path,
    device: str | None = None,
    workers: int = 4,
    resume: bool = False,
) -> Path | None:
    """Train, evaluate after every epoch, and keep `last.pt`, `best.pt` and `results.csv`.

    Where the images to evaluate on have no annotations, as those of COCO's test-dev, there is no AP
    and in the end a `detections.json` for COCO's server.

    Args:
        config: The training.
        folder: Where the files go.
        device: See `process_group`; `0,1` lets torchrun start a process for each GPU. Under
            torchrun every process calls this, with the same arguments.
        workers: Processes that load images, for each GPU; at most as many as there are cores.
        resume: Go on from the folder's `last.pt`, if there is one.

    Returns:
        `last.pt`; None in all processes but the first.

    Raises:
        ValueError: When the folder has a training and `resume` is not set, or one under other
            conditions; when the loss is no number; on data or weights that don't fit.
    """
    last = folder / LAST
    conditions = conditions_of(config)
    previous = checkpoint.read(last) if last.exists() else None
    if previous:
        changes = differences(previous["conditions"], conditions)
        if reasons := changes if resume else ["--resume goes on with it"]:
            raise ValueError(
                f"{folder} holds a training ({'; '.join(reasons)}); choose another --name"
            )
    if device and "," in device and "LOCAL_RANK" not in os.environ:
        _train_on_several(config, folder, device, workers)
        return last
    with process_group(device) as chosen:
        training = _Training(config, conditions, folder, chosen, workers, previous)
        for epoch in range(len(training.lines), config.epochs):
            training.epoch(epoch)
        return None if rank() else last


def conditions_of(config: TrainConfig, with_data: bool = True) -> dict[str, Any]:
    """All that decides the result: the configuration, and SHA-256 of data and weights."""
    digest = None
    if Path(config.weights or "").suffix in checkpoint.WEIGHTS:
        digest = tensor_digest(backbone_weights(config.weights, config.backbone) or {})
    data = digest_of(config) if with_data else None
    return {**config.as_dict(), WEIGHTS_DIGEST: digest, DIGEST: data}


def record_of(last: Path) -> dict[str, Any]:
    """A training's figures, those of its last epoch, in the form of a comparison's runs."""
    content = checkpoint.read(last)
    conditions, lines = content["conditions"], content["lines"]
    with torch.device("meta"):
        model = TrainConfig.of(conditions).build(len(content["names"]) + 1, None)
    parameters, gflops = cost(model)
    return {
        "model": str(last),
        "parameters": parameters,
        "gflops": round(gflops, 2),
        "seconds": round(sum(line["seconds"] for line in lines), 1),
        **content["result"],
        "curve": {key: [line[key] or 0.0 for line in lines] for key in ("AP", "AP50")},
        "conditions": conditions,
        DIGEST: conditions[DIGEST],
        TRAINED_WITH: content[TRAINED_WITH],
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    return training_versions() | {"torchvision": version("torchvision")}


def _train_on_several(config: TrainConfig, folder: Path, devices: str, workers: int) -> None:
    """Train with one process on each GPU, started by torchrun."""
    job = json.dumps({"config": config.as_dict(), "folder": str(folder), "workers": workers})
    count = len(devices.split(","))
    launch = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}")
    command = [sys.executable, *launch, "-m", "afpn_yolo.twostage.train", job]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": devices}
    if code := subprocess.run(command, env=environment, check=False).returncode:
        raise ValueError(f"{folder}: the training on {count} devices ended with exit code {code}")


class _Training:
    """A training in one process."""

    def __init__(
        self,
        config: TrainConfig,
        conditions: dict[str, Any],
        folder: Path,
        device: torch.device,
        workers: int,
        previous: checkpoint.Content | None,
    ) -> None:
        if config.batch % world_size():
            raise ValueError(f"batch {config.batch} can't be shared out among {world_size()} GPUs")
        self.config, self.conditions, self.folder, self.device = config, conditions, folder, device
        self.workers = min(workers, cores())  # torch warns of more
        self.names = class_names(config)
        self.val = read(config, "val", self.names)
        self.loader = self._load()
        _seed(config.seed, 0)
        if previous:
            self.model: Any = checkpoint.rebuild(previous).to(device)
        else:
            weights = backbone_weights(config.weights, config.backbone)
            self.model = config.build(len(self.names) + 1, weights).to(device)
        self.optimizer = torch.optim.SGD(
            [p for p in self.model.parameters() if p.requires_grad],
            config.rate(0, config.warmup),
            config.momentum,
            weight_decay=config.weight_decay,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.amp)
        self.result: dict[str, Any] = {}
        self.lines: list[dict[str, Any]] = []
        self.versions = [_versions()]
        if previous:
            self.optimizer.load_state_dict(previous["optimizer"])
            self.scaler.load_state_dict(previous["scaler"])
            self.lines = previous["lines"]
            before = previous[TRAINED_WITH]
            self.versions = before if _versions() in before else [*before, _versions()]
        self.parallel: nn.Module = self.model
        if world_size() > 1:
            where = [device.index] if device.type == "cuda" else None
            self.parallel = DistributedDataParallel(self.model, where)

    def _load(self) -> DataLoader[Any]:
        config = self.config
        data_set = read(config, "train", self.names)
        images = Images(data_set, augmentation(config.flip, config.crop), empty=False)
        if not len(images):
            raise ValueError(f"{config.data}: no image of the training has an object")
        each = config.batch // world_size()
        self.sampler: Any = DistributedSampler(images, world_size(), rank(), seed=config.seed)
        return DataLoader(
            images,
            each,
            sampler=self.sampler,
            num_workers=self.workers,
            collate_fn=collate,
            drop_last=len(self.sampler) >= each,  # a single image left over is a poor step
            pin_memory=self.device.type == "cuda",
        )

    def epoch(self, epoch: int) -> None:
        """Train and evaluate one epoch, and write down the results."""
        began = time.monotonic()
        _seed(self.config.seed, 1 + epoch * world_size() + rank())
        losses = self._steps(epoch)
        seconds = time.monotonic() - began
        if distributed.is_initialized():  # all evaluate the model of process 0
            for buffer in self.model.buffers():
                distributed.broadcast(buffer, 0)
        last = epoch + 1 == self.config.epochs
        server = self.folder / SERVER if last else None
        scores, per_class = evaluate_detector(
            self.model, self.val, self.config.batch, self.workers, server
        )
        counts = {"images": len(self.val.images), "area": self.val.area}
        self.result = {"metrics": scores, "per_class": per_class, **counts}
        rate = float(self.optimizer.param_groups[0]["lr"])
        columns: dict[str, Any] = {key: scores[key] for key in COLUMNS}
        self.lines.append({"epoch": epoch + 1, "seconds": seconds, "lr": rate, **losses, **columns})
        if rank() == 0:
            self._write()
            score = "-" if scores["AP"] is None else f"{100 * scores['AP']:.1f}"
            message = f"loss {losses['loss']:.3f}, AP {score}, {seconds:.0f} s of training"
            name = f"epoch {epoch + 1}/{self.config.epochs}"
            print(f"{name}: {message}", file=sys.stderr, flush=True)

    def _steps(self, epoch: int) -> dict[str, float]:
        """One pass over the images; the mean of every loss."""
        self.parallel.train()
        self.sampler.set_epoch(epoch)
        # None: only where the output is a terminal.
        bar = tqdm(self.loader, f"epoch {epoch + 1}", leave=False, disable=rank() > 0 or None)
        total: Counter[str] = Counter()
        for i, (images, targets) in enumerate(bar):
            rate = self.config.rate(epoch, epoch * len(self.loader) + i)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            losses = self._step(images, targets)
            total.update(losses)
            bar.set_postfix(loss=f"{total['loss'] / (i + 1):.3f}")
        return {key: value / len(self.loader) for key, value in total.items()}

    def _step(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, float]:
        """One step of the optimizer."""
        inputs = [image.to(self.device, non_blocking=True) for image in images]
        wanted = [{k: v.to(self.device) for k, v in each.items()} for each in targets]
        with torch.autocast(self.device.type, enabled=self.config.amp):
            losses: dict[str, Tensor] = self.parallel(inputs, wanted)
            loss = torch.stack([*losses.values()]).sum()
        values = {**{k: v.item() for k, v in losses.items()}, "loss": loss.item()}
        if not math.isfinite(values["loss"]):
            raise ValueError(
                f"the loss is {values['loss']} at a learning rate of "
                f"{self.optimizer.param_groups[0]['lr']:.4g}: try a lower --lr, or --grad-clip 10"
            )
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.config.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return values

    def _write(self) -> None:
        """Write the checkpoint to go on from, the best one so far, and the table of epochs."""
        detector = {"conditions": self.conditions, "names": self.names, "result": self.result}
        detector["model"] = self.model.state_dict()
        scores = [line["AP"] or 0.0 for line in self.lines]
        if scores[-1] == max(scores):
            checkpoint.save(self.folder / BEST, detector)
        state = {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "lines": self.lines,
            TRAINED_WITH: self.versions,
        }
        checkpoint.save(self.folder / LAST, {**detector, **state})
        path = self.folder / TABLE
        with written_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*self.lines[-1]])
            writer.writeheader()
            for line in self.lines:
                writer.writerow({k: "" if v is None else f"{v:.6g}" for k, v in line.items()})


def _seed(seed: int, step: int) -> None:
    """Seed what draws random numbers, one way for every step."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1)[0]))


if __name__ == "__main__":  # one of several processes that torchrun started
    job = json.loads(sys.argv[1])
    train(TrainConfig.of(job["config"]), Path(job["folder"]), None, job["workers"], resume=True)
