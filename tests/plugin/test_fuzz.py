"""Random necks: what the rules allow works, and all else is refused with a `ValueError`.

They are the same in every run; `make fuzz EXAMPLES=2000 SEED=7` tries others, so many of each kind.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.base.yaml_rows import absolute
from afpn_yolo.graft.shapes import run_rows
from tests.neck import randomise

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
TOLERANCE = 1e-4  # of the largest value
FUSIONS = ("AFPNFusion", "AFPNSum", "AFPNConcat")
Config = dict[str, Any]


def examples(count: int) -> settings:
    return settings(
        max_examples=EXAMPLES or count,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )


@dataclass(frozen=True)
class Row:
    """What a row gives: its level (stride 2**level) and its channels."""

    level: int
    channels: int


@dataclass(frozen=True)
class Neck:
    """A model YAML, what each row but the last gives, and the rows that the head reads."""

    config: Config
    rows: list[Row]
    read: list[int]

    @property
    def stride(self) -> int:
        """Image sides must be multiples of it."""
        return int(2 ** max(row.level for row in self.rows))

    def used(self) -> set[int]:
        """The rows on which the head's inputs depend."""
        content = self.config["backbone"] + self.config["head"]
        used: set[int] = set()
        waiting = [*self.read]
        while waiting:
            i = waiting.pop()
            used.add(i)
            waiting += [source for source in absolute(content[i][0], i) if source >= 0]
        return used


@st.composite
def necks(draw: st.DrawFn) -> Neck:
    """Backbones of two to five levels behind up to two more, up to eight rows of ours."""
    first, levels = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    levels = min(levels, 7 - first)  # Ultralytics measures strides on 256 pixels
    width, most = draw(st.sampled_from([0.25, 0.5, 1.0])), draw(st.sampled_from([24, 64, 1024]))
    depth = draw(st.sampled_from([0.33, 1.0, 1.33]))

    def scale(channels: int) -> int:
        """The parser's rule, written anew: width times what is asked for, up to a multiple of 8."""
        return max(8, int(-(-min(channels, most) * width // 8) * 8))

    rows: list[Row] = []
    backbone: list[list[Any]] = []
    for level in range(1, first + levels):
        channels = draw(st.integers(1, 64))
        backbone.append([-1, 1, "Conv", [channels, 3, 2]])
        rows.append(Row(level, scale(channels)))
    head: list[list[Any]] = []
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from([*FUSIONS, *FUSIONS, "AFPNConv", "AFPNResidual"]))
        row, output = (fusion if kind in FUSIONS else unary)(draw, kind, rows, first, scale)
        head.append(row)
        rows.append(output)
    more = draw(st.lists(st.sampled_from(range(len(rows))), max_size=2))
    read = sorted({len(rows) - 1, *more}, key=lambda i: (rows[i].level, i))
    head.append([read, 1, "Detect", ["nc"]])
    config = {"nc": draw(st.integers(1, 3)), "scales": {"n": [depth, width, most]}, "scale": "n"}
    return Neck({**config, "backbone": backbone, "head": head}, rows, read)


def fusion(
    draw: st.DrawFn, kind: str, rows: list[Row], first: int, scale: Callable[[int], int]
) -> tuple[list[Any], Row]:
    """Consecutive levels, each from any row that has it."""
    coarsest = max(row.level for row in rows)
    finest = draw(st.integers(first, coarsest - 1))
    end = draw(st.integers(finest + 1, coarsest))
    taken = [
        draw(st.sampled_from([i for i, row in enumerate(rows) if row.level == level]))
        for level in range(finest, end + 1)
    ]
    args = [draw(st.integers(0, len(taken) - 1))]
    target = rows[taken[args[0]]]
    if kind == "AFPNFusion" and draw(st.booleans()):
        args.append(draw(st.integers(1, 12)))
    return [[reference(draw, i, len(rows)) for i in taken], 1, kind, args], target


def unary(
    draw: st.DrawFn, kind: str, rows: list[Row], first: int, scale: Callable[[int], int]
) -> tuple[list[Any], Row]:
    i = draw(st.sampled_from(range(len(rows))))
    source = reference(draw, i, len(rows))
    if kind == "AFPNConv":
        channels = draw(st.integers(1, 96))
        return [source, 1, kind, [channels]], Row(rows[i].level, scale(channels))
    args = draw(st.sampled_from([[], [1], [2]]))
    return [source, draw(st.integers(1, 3)), kind, args], rows[i]


def reference(draw: st.DrawFn, i: int, here: int) -> int:
    """A row as seen from row `here`: counted from the first, or backwards."""
    return i - here if draw(st.booleans()) else i


# Each is a place of a row, or a key of the YAML, and what is wrong there.
BROKEN_FUSION = [
    *((0, sources) for sources in ([], [0], [0, 0], [1, 0], 0)),
    *((3, args) for args in ([], [9], [-1], ["fine"], ["n"], [True], [0, 8, 8])),
    (1, 3),
]
BROKEN_ROWS: dict[str, list[tuple[Any, Any]]] = {
    **dict.fromkeys(FUSIONS, BROKEN_FUSION),
    "AFPNConv": [(0, [0]), *((3, args) for args in ([0], [-8], [8.5]))],
    "AFPNResidual": [(3, args) for args in ([0], [-1], [1, 1])],
}
BROKEN_ANY: list[tuple[Any, Any]] = [
    *((0, source) for source in (99, -99, None)),
    *((1, number) for number in (0, -1, "one", None)),
    *((2, module) for module in ("AFPNFusions", ["AFPNSum"])),
    *((3, args) for args in (1, None)),
    (slice(3, None), []),
    (slice(4, None), [1]),
    *(("scales", {"n": scale}) for scale in ([0.3, 0.2], [0.3, "wide", 64], [0.3, 0, 64])),
    ("scale", "s"),
    ("nc", 0),
]


def with_another(neck: Neck) -> Config:
    """A copy with one more row of ours: a YAML without any is for Ultralytics to refuse."""
    config = copy.deepcopy(neck.config)
    config["head"].insert(-1, [-1, 1, "AFPNConv", [8]])
    return config


@st.composite
def broken(draw: st.DrawFn) -> Config:
    """A neck with one fault."""
    config = with_another(draw(necks()))
    row = config["head"][draw(st.integers(0, len(config["head"]) - 3))]
    place, value = draw(st.sampled_from([*BROKEN_ROWS[row[2]], *BROKEN_ANY]))
    (config if isinstance(place, str) else row)[place] = value
    return config


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 40) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@st.composite
def littered(draw: st.DrawFn) -> Config:
    """A neck with anything at all at one place of a row of ours."""
    config = with_another(draw(necks()))
    row = config["head"][draw(st.integers(0, len(config["head"]) - 3))]
    place = draw(st.integers(0, 3))
    if isinstance(row[place], list) and row[place] and draw(st.booleans()):
        row, place = row[place], draw(st.integers(0, len(row[place]) - 1))
    row[place] = draw(JUNK)
    return config


class Features(nn.Module):
    """A model up to what its head reads."""

    def __init__(self, model: Any, read: list[int]) -> None:
        super().__init__()
        self.rows, self.read = model.model, read

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the maps that the head reads."""
        outputs = run_rows(self.rows, {-1: image}, range(len(self.rows) - 1))
        return [outputs[i] for i in self.read]


def build(config: Config) -> Any:
    return DetectionModel(copy.deepcopy(config), verbose=False)


def assert_close(got: list[Any], expected: list[Any], what: str) -> None:
    for a, b in zip(got, expected, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape, what
        assert np.isfinite(a).all(), what
        difference = float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-6))
        assert difference <= TOLERANCE, f"{what}: differs by {difference:.1e}"


@given(necks())
@examples(25)
def test_what_is_allowed_keeps_its_promises(neck: Neck) -> None:
    """It builds, gives the shapes that it should, learns, fuses and exports."""
    torch.manual_seed(0)
    model = build(neck.config)
    assert model.stride.tolist() == [2 ** neck.rows[i].level for i in neck.read]
    height, width = neck.stride, 2 * neck.stride
    image = torch.rand(2, 3, height, width)
    outputs = run_rows(model.model, {-1: image}, range(len(neck.rows)))
    for i, row in enumerate(neck.rows):
        side = (height >> row.level, width >> row.level)
        assert tuple(outputs[i].shape) == (2, row.channels, *side), f"row {i}"
    check_gradients(model, neck, image)
    features = Features(randomise(model).eval(), neck.read).eval()
    with torch.no_grad():
        expected = [x.numpy() for x in features(image)]
        fused = Features(copy.deepcopy(model).fuse(verbose=False), neck.read).eval()
        assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
        assert_close([x.numpy() for x in fused(image)], expected, "fused")
        check_odd_sides(features, neck)
    check_export(fused, features, neck)


def check_gradients(model: Any, neck: Neck, image: Tensor) -> None:
    model.train()
    sum(x.square().mean() for x in Features(model, neck.read)(image)).backward()
    used = neck.used()
    for i, layer in enumerate(model.model[:-1]):
        for name, parameter in layer.named_parameters():
            assert (parameter.grad is not None) == (i in used), f"row {i}, {name}"
            assert i not in used or bool(parameter.grad.isfinite().all()), f"row {i}, {name}"


def check_odd_sides(features: nn.Module, neck: Neck) -> None:
    """Levels that are not half of one another are refused; where they are, all goes well."""
    try:
        outputs = features(torch.rand(1, 3, neck.stride + 3, neck.stride + 6))
    except ValueError as error:
        assert "must have half the size" in str(error)  # noqa: PT017
        return
    assert all(bool(x.isfinite().all()) for x in outputs)


def check_export(fused: nn.Module, features: nn.Module, neck: Neck) -> None:
    """ONNX Runtime, at another size than the exported one."""
    file: Any = io.BytesIO()
    names = [f"p{i}" for i in neck.read]
    axes = {name: {2: f"{name}h", 3: f"{name}w"} for name in ("image", *names)}
    example = (torch.rand(1, 3, neck.stride, neck.stride),)
    how: Any = {"dynamic_axes": axes, "opset_version": 17, "dynamo": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(fused, example, file, input_names=["image"], output_names=names, **how)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    image = torch.rand(1, 3, 2 * neck.stride, neck.stride)
    with torch.no_grad():
        expected = [x.numpy() for x in features(image)]
    assert_close(session.run(None, {"image": image.numpy()}), expected, "ONNX Runtime")


@given(broken())
@examples(150)
def test_what_breaks_a_rule_is_refused(config: Config) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        build(config)


@given(littered())
@examples(150)
def test_anything_at_all_is_built_or_refused(config: Config) -> None:
    with contextlib.suppress(ValueError):
        build(config)
