"""On which state of the data, and with which versions, a training is made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from afpn_yolo.evaluation.fingerprint import coco_digest, data_digest
from afpn_yolo.evaluation.records import DIGEST, TRAINED_WITH
from afpn_yolo.twostage.data import SPLITS, Source
from afpn_yolo.upstream.train import training_versions


def source_digest(source: Source) -> str:
    """SHA-256 of the data, as `digest.data_digest` and `digest.coco_digest` give it.

    Raises:
        EvaluationError: When the data can't be read.
    """
    if source.train == source.val and not source.train.endswith(".json"):
        return data_digest(source.train, SPLITS)  # that of YOLO's comparisons on the same data
    digest = hashlib.sha256()
    for split, file, folder in (
        (SPLITS[0], source.train, source.train_images),
        (SPLITS[1], source.val, source.val_images),
    ):
        is_json = file.endswith(".json")
        part = coco_digest(file, folder) if is_json else data_digest(file, (split,))
        digest.update(part.encode())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of what a training's result depends on."""
    return training_versions() | {"torchvision": version("torchvision")}


def changed(kept: Mapping[str, Any], digest: str | None) -> list[str]:
    """What to say where something kept was made on another state of the data, as far as known."""
    there = kept.get(DIGEST)
    return ["images or labels have changed since"] if there and digest not in (None, there) else []


def provenance(digest: str, kept: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a checkpoint says of a training.

    Args:
        digest: Of the data.
        kept: The checkpoint from which the training goes on.

    Returns:
        The digest, None where the training was begun before it was kept, and the versions, several
        where a training goes on under others.
    """
    now = versions()
    if kept is None:
        return {DIGEST: digest, TRAINED_WITH: [now]}
    before = [*kept.get(TRAINED_WITH, [dict.fromkeys(now, "unknown")])]
    return {DIGEST: kept.get(DIGEST), TRAINED_WITH: before if now in before else [*before, now]}
