"""What a benchmark measures: a case for each runtime, precision, size and batch of some necks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby, product

from afpn_yolo.compare.plan import Candidate

WAYS: dict[tuple[str, str], tuple[str, ...]] = {
    ("pytorch", "fp32"): ("torch",),
    ("onnxruntime", "fp32"): ("onnxruntime",),
    ("onnxruntime", "int8"): ("onnxruntime",),
    ("openvino", "fp32"): ("openvino",),
    ("openvino", "int8"): ("openvino", "nncf"),
    ("ncnn", "fp32"): ("ncnn", "pnnx"),
    ("pytorch-train", "fp32"): ("torch",),
}
"""Runtime and precision -> the pip packages that it needs."""

ALWAYS = ("onnx", "onnxruntime", "onnxslim")
"""The pip packages that every benchmark needs: nodes are counted in the slimmed ONNX graph."""

RUNTIMES = tuple(dict.fromkeys(runtime for runtime, _ in WAYS))
PRECISIONS = ("fp32", "int8")
PARTS = ("neck", "model")
TRAINING = "pytorch-train"
TITLES = {
    "pytorch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "ncnn": "NCNN",
    "pytorch-train": "PyTorch, training",
}
"""What tables and charts call a runtime."""


@dataclass(frozen=True)
class Case:
    """One measurement of all necks of a group."""

    necks: tuple[Candidate, ...]
    part: str  # of `PARTS`
    runtime: str
    precision: str
    imgsz: int  # side of the images in pixels
    batch: int  # images at a time

    @property
    def name(self) -> str:
        """Such as `n neck onnxruntime int8 640 x1`."""
        how = f"{self.part} {self.runtime} {self.precision} {self.imgsz} x{self.batch}"
        return f"{self.necks[0].scale or ''} {how}".strip()

    @property
    def baseline(self) -> Candidate:
        """What the others are compared with: the neck labelled PAFPN, else the first."""
        return next((n for n in self.necks if n.label == "PAFPN"), self.necks[0])


def cases(
    necks: Sequence[Candidate],
    parts: Sequence[str],
    runtimes: Sequence[str],
    precisions: Sequence[str],
    sizes: Sequence[int],
    batches: Sequence[int],
    train_batch: int = 8,
) -> list[Case]:
    """All cases, those of one model beside each other.

    Every size is measured at the first batch size, and every batch size at the first size: all
    combinations would take hours and show little more. Training is measured for the neck only,
    at the first size and `train_batch`.

    Raises:
        ValueError: When nothing is left to measure.
    """
    pairs = [(size, batches[0]) for size in sizes]
    pairs += [(sizes[0], batch) for batch in batches[1:]]
    groups = [tuple(group) for _, group in groupby(necks, key=lambda neck: neck.scale)]
    ways = [w for w in WAYS if w[0] in runtimes and w[1] in precisions]
    result = [
        Case(group, part, *way, *pair)
        for group, part, pair, way in product(groups, parts, pairs, ways)
        if way[0] != TRAINING
    ]
    if "neck" in parts and (TRAINING, "fp32") in ways:
        result += [Case(g, "neck", TRAINING, "fp32", sizes[0], train_batch) for g in groups]
    if not result:
        raise ValueError(
            f"nothing to measure: {', '.join(runtimes)} can't run in "
            f"{', '.join(precisions)} for the part {', '.join(parts)}"
        )
    return result


def left_out(wanted: Sequence[Case]) -> dict[Case, str]:
    """The cases whose runtime or precision needs what is not installed: its pip packages."""
    return {case: gone for case in wanted if (gone := _missing(WAYS[case.runtime, case.precision]))}


def check_installed(wanted: Sequence[Case]) -> None:
    """Raise `ValueError` that names the packages that the cases need and that are not there."""
    if missing := _missing(ALWAYS):
        raise ValueError(f"a benchmark needs what is not installed: pip install {missing}")
    for case, missing in left_out(wanted).items():
        others = " ".join(name for name in RUNTIMES if name != case.runtime)
        raise ValueError(
            f"{case.runtime} in {case.precision} needs what is not installed: pip install "
            f"{missing}; or leave it out, as by --runtimes {others}"
        )


def _missing(packages: Sequence[str]) -> str:
    return " ".join(name for name in packages if find_spec(name) is None)
