"""Necks by chance, for as long as you like: `make fuzz`, or

    python -m tests.fuzz --examples 300 --seconds 600

Three properties are tried in turn, with new seeds, until the time is over. What fails is shrunk and
printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import copy
import io
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from afpn_yolo.upstream.neck import run_rows
from tests.neck import randomise
from tests.necks import Config, Neck, broken, littered, necks

TOLERANCE = 1e-4  # of the largest value
ran: Counter[str] = Counter()


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


def refused(config: Config) -> bool:
    """Whether a YAML is refused with a sentence; anything but a `ValueError` comes through."""
    try:
        build(config)
    except ValueError as error:
        return bool(str(error))
    return False


def assert_close(got: list[Any], expected: list[Any], what: str) -> None:
    for a, b in zip(got, expected, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape, what
        assert np.isfinite(a).all(), what
        difference = float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-6))
        assert difference <= TOLERANCE, f"{what}: differs by {difference:.1e}"


def check_allowed(neck: Neck) -> None:
    """What the rules allow builds, gives what it promises, learns, fuses and exports."""
    torch.manual_seed(0)
    model = build(neck.config)
    assert model.stride.tolist() == [2 ** neck.rows[i].level for i in neck.read]
    height, width = neck.stride, 2 * neck.stride
    image = torch.rand(2, 3, height, width)
    outputs = run_rows(model.model, {-1: image}, range(len(neck.rows)))
    for i, row in enumerate(neck.rows):
        side = (height >> row.level, width >> row.level)
        assert tuple(outputs[i].shape) == (2, row.channels, *side), f"row {i}"
    _check_gradients(model, neck, image)
    randomise(model)
    model.eval()
    features = Features(model, neck.read).eval()
    with torch.no_grad():
        expected = [x.numpy() for x in features(image)]
        fused = Features(copy.deepcopy(model).fuse(verbose=False), neck.read).eval()
        assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
        assert_close([x.numpy() for x in fused(image)], expected, "fused")
        _check_odd_sides(features, neck)
    _check_export(fused, features, neck)


def _check_gradients(model: Any, neck: Neck, image: Tensor) -> None:
    model.train()
    sum(x.square().mean() for x in Features(model, neck.read)(image)).backward()
    used = neck.used()
    for i, layer in enumerate(model.model[:-1]):
        for name, parameter in layer.named_parameters():
            assert (parameter.grad is not None) == (i in used), f"row {i}, {name}"
            assert i not in used or bool(parameter.grad.isfinite().all()), f"row {i}, {name}"


def _check_odd_sides(features: nn.Module, neck: Neck) -> None:
    """Levels that are not half of one another are refused; where they are, all goes well."""
    image = torch.rand(1, 3, neck.stride + 3, neck.stride + 6)
    try:
        outputs = features(image)
    except ValueError as error:
        assert "must have half the size" in str(error)  # noqa: PT017
        return
    assert all(bool(x.isfinite().all()) for x in outputs)


def _check_export(fused: nn.Module, features: nn.Module, neck: Neck) -> None:
    """ONNX Runtime, at another size than the exported one."""
    file, names = io.BytesIO(), [f"p{i}" for i in neck.read]
    axes = {name: {2: f"{name}h", 3: f"{name}w"} for name in ("image", *names)}
    example = torch.rand(1, 3, neck.stride, neck.stride)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            fused,
            (example,),
            file,  # type: ignore[arg-type]
            input_names=["image"],
            output_names=names,
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,  # as Ultralytics exports
        )
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    image = torch.rand(1, 3, 2 * neck.stride, neck.stride)
    with torch.no_grad():
        expected = [x.numpy() for x in features(image)]
    assert_close(session.run(None, {"image": image.numpy()}), expected, "ONNX Runtime")


def check_broken(case: tuple[str, Config]) -> None:
    """What breaks a rule is refused with a `ValueError`."""
    rule, config = case
    assert refused(config), rule


def check_littered(config: Config) -> None:
    """Anything at all in a row of ours is built, or refused with a `ValueError`."""
    refused(config)


PROPERTIES: dict[str, tuple[Any, Callable[[Any], None]]] = {
    "allowed": (necks(), check_allowed),
    "broken": (broken(), check_broken),
    "littered": (littered(), check_littered),
}


def run(name: str, examples: int, number: int | None) -> None:
    """Try one property; `number` seeds the chance, None always draws the same cases.

    Raises:
        Exception: What the smallest failing case raised.
    """
    strategy, check = PROPERTIES[name]
    quiet = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=number is None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
    )

    @quiet
    @given(strategy)
    def each(case: Any) -> None:
        ran[name] += 1
        check(case)

    (each if number is None else seed(number)(each))()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=50, help="cases for a seed (50)")
    parser.add_argument("--seconds", type=float, default=600, help="start no seed after it (600)")
    parser.add_argument("--seed", type=int, default=0, help="the first one (0)")
    args = parser.parse_args(argv)
    end, number = time.monotonic() + args.seconds, args.seed
    found: dict[str, str] = {}
    try:
        while time.monotonic() < end:
            for name in PROPERTIES:
                try:
                    run(name, args.examples, number)
                except Exception as error:
                    text = "".join([f"{type(error).__name__}: {error}", *_notes(error)])
                    found.setdefault(f"{name}, seed {number}", text)
                    print(f"found by {name}, seed {number}: {text}\n", file=sys.stderr, flush=True)
            number += 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
    print(f"{ran.total()} cases with {number - args.seed} seeds: {dict(ran)}")
    print(f"{len(found)} findings")
    return 1 if found else 0


def _notes(error: BaseException) -> list[str]:
    """The failing case, as hypothesis words it."""
    return [f"\n{note}" for note in getattr(error, "__notes__", [])]


if __name__ == "__main__":
    sys.exit(main())
