"""The JSON of a comparison, and the summary of a row's runs that tables and charts take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from afpn_yolo.evaluation.coco import Column, Scores

DIGEST = "data_digest"  # the state of the data
TRAINED_WITH = "trained_with"  # versions, several where a training went on under others
MODEL = "model"  # what was built: a digest, or the settings of a row


class Curve(TypedDict):
    """AP and AP50 after each epoch, from 0 to 1, from the validation during training."""

    AP: list[float]
    AP50: list[float]


class Result(TypedDict, total=False):
    """What one training and its evaluation give: figures after the last epoch.

    `gflops` counts two operations per multiply-add.
    """

    parameters: int
    gflops: float
    seconds: float
    metrics: Scores
    per_class: dict[str, Scores]
    images: int
    curve: Curve
    area: str | None
    versions: dict[str, str]


class Record(Result, total=False):
    """One finished run. All of its conditions but `MODEL` are the same in a whole comparison."""

    run: str
    label: str
    model: str
    scale: str | None
    seed: int
    conditions: dict[str, Any]
    trained_with: list[dict[str, str]]


class ComparisonFile(TypedDict, total=False):
    """The file of a comparison.

    `verdict` is None until all runs that were asked for have ended. `verdicts` has the number of
    runs that each verdict until now rested on.
    """

    runs: list[Record]
    verdicts: list[int]
    verdict: dict[str, Any] | None


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and the standard deviation where there are two or more."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Of the values that are there; None of none."""
        present = [value for value in values if value is not None]
        if not present:
            return None
        return cls(mean(present), stdev(present) if len(present) > 1 else None)

    @property
    def bar(self) -> float | None:
        """The standard deviation in points, as a figure's error bar."""
        return None if self.sd is None else 100 * self.sd

    def points(self) -> str:
        """In points of 0 to 100: `28.0 ± 0.3`."""
        return f"{100 * self.mean:.1f}" + ("" if self.bar is None else f" ± {self.bar:.1f}")


@dataclass(frozen=True)
class Row:
    """All finished runs of one neck at one scale.

    Attributes:
        metrics: COCO's figures after the last epoch, over seeds.
        scores: AP of each seed after the last epoch, from 0 to 1.
        curve, low, high: Mean, lowest and highest AP of the seeds after each epoch, from the
            validation during training.
    """

    label: str
    scale: str | None
    seeds: tuple[int, ...]
    parameters: int
    gflops: float
    metrics: dict[Column, Spread | None]
    scores: tuple[float, ...]
    curve: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def name(self) -> str:
        """Label and scale: `AFPN-n`."""
        return f"{self.label}-{self.scale}" if self.scale else self.label
