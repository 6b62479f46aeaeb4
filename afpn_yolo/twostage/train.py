"""The loop that trains a two-stage detector: torchvision's recipe, with checkpoints to go on from.

Every epoch draws its random numbers from the seed and its own number. So a training that was
killed gives, once resumed, what it would have given in one go.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler
from tqdm import tqdm

from afpn_yolo.twostage import checkpoint
from afpn_yolo.twostage.data import Images, augmentation, class_names, collate, read
from afpn_yolo.twostage.detect import evaluate_detector
from afpn_yolo.twostage.distributed import processes, rank, share_buffers, world_size
from afpn_yolo.twostage.logger import History, Line
from afpn_yolo.twostage.plan import Plan, differences
from afpn_yolo.twostage.provenance import changed, provenance, source_digest
from afpn_yolo.twostage.weights import backbone_weights
from afpn_yolo.upstream.loading import cores

LAST, BEST = "last.pt", "best.pt"
SERVER = "detections.json"


@dataclass(frozen=True)
class Outcome:
    """What a training gave: its last checkpoint, COCO's metrics of that, classes and curve.

    `made` is what `provenance` tells of data and versions; nothing in checkpoints of before it.
    """

    last: Path
    metrics: dict[str, Any]
    names: dict[int, str]
    lines: list[Line]
    made: dict[str, Any] = field(default_factory=dict)


def train(
    plan: Plan, folder: Path, device: str | None = None, workers: int = 4, resume: bool = False
) -> Outcome | None:
    """Train, evaluate after every epoch, and keep `last.pt`, `best.pt` and `results.csv`.

    Where the images to evaluate on have no annotations, as those of COCO's test-dev, there is no AP
    and in the end a `detections.json` for COCO's server.

    Under torchrun every process calls this, with the same arguments.

    Args:
        plan: The training.
        folder: Where the files go.
        device: See `processes`.
        workers: Processes that load images, for each process that trains; at most as many as
            there are cores.
        resume: Go on from the folder's `last.pt`, if there is one.

    Returns:
        What came of it; None in all processes but the first.

    Raises:
        ValueError: When the folder has a training and `resume` is not set, or one of another plan
            or state of the data; when the loss is no number any more; on data or weights that
            don't fit.
        OSError: When a file can't be read or written.
    """
    digest = source_digest(plan.source)
    kept = _kept(plan, folder, resume, digest)
    made = provenance(digest, kept and kept.get("made", {}))
    with processes(device) as chosen:
        training = _Training(plan, folder, chosen, workers, made, kept)
        for epoch in range(len(training.history.lines), plan.schedule.epochs):
            training.epoch(epoch)
        if rank():
            return None
    return outcome_of(folder / LAST)


def outcome_of(last: Path) -> Outcome:
    """What a training's last checkpoint says of it.

    Raises:
        OSError, ValueError: See `checkpoint.read`.
    """
    content = checkpoint.read(last)
    names, made = dict(content["names"]), content.get("made", {})
    return Outcome(last, content["metrics"], names, content["lines"], made)


def _kept(plan: Plan, folder: Path, resume: bool, digest: str) -> checkpoint.Content | None:
    """The checkpoint to go on from."""
    last = folder / LAST
    if not last.exists():
        return None
    if not resume:
        raise ValueError(f"{folder} holds a training: go on with --resume, or choose another --out")
    content = checkpoint.read(last)
    made = content.get("made", {})
    if different := [*differences(content["plan"], plan), *changed(made, digest)]:
        raise ValueError(
            f"{folder} holds a training under other conditions ({'; '.join(different)}); choose "
            "another --out"
        )
    return content


class _Training:
    """A training in one process."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        device: torch.device,
        workers: int,
        made: dict[str, Any],
        kept: checkpoint.Content | None,
    ) -> None:
        if plan.batch % world_size():
            raise ValueError(f"batch {plan.batch} can't be shared out among {world_size()} GPUs")
        self.plan, self.folder, self.device = plan, folder, device
        self.workers = min(workers, cores())  # torch warns of more
        self.made = made
        self.names = class_names(plan.source)
        self.val = read(plan.source, "val", self.names)
        self.loader, self.sampler = self._load()
        self.metrics: dict[str, Any] = {}
        _seed(plan.seed, 0)
        self.model = self._build(kept).to(device)
        self.optimizer = torch.optim.SGD(
            [p for p in self.model.parameters() if p.requires_grad],
            plan.learning_rate,
            plan.momentum,
            weight_decay=plan.decay,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=plan.half)
        lines = None
        if kept:
            self.optimizer.load_state_dict(kept["optimizer"])
            self.scaler.load_state_dict(kept["scaler"])
            lines, self.metrics = kept["lines"], kept["metrics"]
        self.history = History(folder, lines, write=rank() == 0)
        self.parallel: nn.Module = self.model
        if world_size() > 1:
            where = [device.index] if device.type == "cuda" else None
            self.parallel = DistributedDataParallel(self.model, where)

    def _load(self) -> tuple[DataLoader[Any], DistributedSampler[Any]]:
        plan = self.plan
        data_set = read(plan.source, "train", self.names)
        images = Images(data_set, augmentation(plan.flip, plan.crop), empty=False)
        if not len(images):
            raise ValueError(f"{plan.source.train}: no image of the training has an object")
        each = plan.batch // world_size()
        sampler: DistributedSampler[Any] = DistributedSampler(
            images, world_size(), rank(), seed=plan.seed
        )
        loader: DataLoader[Any] = DataLoader(
            images,
            each,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate,
            drop_last=len(sampler) >= each,  # a single image left over is a poor step
            pin_memory=self.device.type == "cuda",
        )
        return loader, sampler

    def _build(self, kept: checkpoint.Content | None) -> Any:
        plan = self.plan
        if kept:
            return checkpoint.rebuilt(kept, plan.trainable_layers)
        start = backbone_weights(plan.weights_backbone, plan.design.backbone)
        classes = len(self.names) + 1
        return plan.design.build(classes, start, plan.sides, plan.trainable_layers)

    def epoch(self, epoch: int) -> None:
        """Train and evaluate one epoch, and write down what came of it."""
        began = time.monotonic()
        _seed(self.plan.seed, 1 + epoch * world_size() + rank())
        losses = self._steps(epoch)
        seconds = time.monotonic() - began
        share_buffers(self.model)
        last = epoch + 1 == self.plan.schedule.epochs
        self.metrics = metrics = evaluate_detector(
            self.model,
            self.val,
            self.plan.batch,
            self.workers,
            self.folder / SERVER if last else None,
        )
        scores: Any = {key: value for key, value in metrics.items() if key != "per_class"}
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.history.add({"epoch": epoch + 1, "seconds": seconds, "lr": rate, **losses, **scores})
        if rank() == 0:
            self._write()
            if not sys.stderr.isatty():  # where there is no bar
                score = "-" if scores["AP"] is None else f"{100 * scores['AP']:.1f}"
                told = f"loss {losses['loss']:.3f}, AP {score}, {seconds:.0f} s of training"
                print(f"{self._title(epoch)}: {told}", file=sys.stderr, flush=True)

    def _title(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self.plan.schedule.epochs}"

    def _steps(self, epoch: int) -> dict[str, float]:
        """One pass over the images; the mean of every loss."""
        plan = self.plan
        self.parallel.train()
        self.sampler.set_epoch(epoch)
        # None: only where the output is a terminal.
        bar = tqdm(self.loader, self._title(epoch), disable=rank() > 0 or None)
        total: Counter[str] = Counter()
        for i, (images, targets) in enumerate(bar):
            factor = plan.schedule.rate(epoch, epoch * len(self.loader) + i, plan.warmup)
            for group in self.optimizer.param_groups:
                group["lr"] = plan.learning_rate * factor
            losses = self._step(images, targets)
            total.update(losses)
            bar.set_postfix(loss=f"{total['loss'] / (i + 1):.3f}")
        return {key: value / len(self.loader) for key, value in total.items()}

    def _step(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, float]:
        """One step of the optimizer."""
        inputs = [image.to(self.device, non_blocking=True) for image in images]
        wanted = [
            {k: v.to(self.device, non_blocking=True) for k, v in each.items()} for each in targets
        ]
        with torch.autocast(self.device.type, enabled=self.plan.half):
            losses: dict[str, Tensor] = self.parallel(inputs, wanted)
            loss = sum(losses.values(), torch.zeros((), device=self.device))
        values = {**{k: v.item() for k, v in losses.items()}, "loss": loss.item()}
        if not math.isfinite(values["loss"]):
            raise ValueError(
                f"the loss is {values['loss']} at a learning rate of "
                f"{self.optimizer.param_groups[0]['lr']:.4g}: try a lower --lr, or --clip 10"
            )
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.plan.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return values

    def _write(self) -> None:
        """Keep the training to go on from, and the best detector so far."""
        plan = self.plan
        detector = checkpoint.described(self.model, plan.design, plan.sides, self.names)
        detector |= {"metrics": self.metrics}
        scores = [line["AP"] or 0.0 for line in self.history.lines]
        if scores[-1] == max(scores):
            checkpoint.save(self.folder / BEST, detector)
        state = {
            "plan": plan.as_dict(),
            "made": self.made,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "lines": self.history.lines,
        }
        checkpoint.save(self.folder / LAST, {**detector, **state})


def _seed(seed: int, step: int) -> None:
    """Seed what draws random numbers, one way for every step."""
    number = int(np.random.SeedSequence((seed, step)).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
