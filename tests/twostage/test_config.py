"""All that decides a training: schedules, learning rates, and values that can't be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from afpn_yolo.twostage.config import TrainConfig


@pytest.mark.parametrize(
    ("epochs", "steps"), [(12, (8, 11)), (24, (16, 22)), (36, (27, 33)), (60, (40, 55))]
)
def test_the_papers_schedules_and_their_proportions(epochs: int, steps: tuple[int, int]) -> None:
    config = TrainConfig(epochs=epochs, batch=16)
    assert config.steps == steps
    rates = [config.rate(epoch, 10**6) / 0.02 for epoch in range(epochs)]
    assert rates[steps[0] - 1] == 1
    assert rates[steps[0]] == pytest.approx(0.1)
    assert rates[steps[1]] == pytest.approx(0.01)


def test_the_rate_is_in_proportion_to_the_batch_and_rises_in_a_line() -> None:
    config = TrainConfig(batch=4)
    rates = [config.rate(0, i) for i in (0, 250, 500)]
    assert rates == pytest.approx([0.005 * factor for factor in (0.001, 0.5005, 1)])
    assert TrainConfig(batch=4, lr=0.1, warmup=0).rate(0, 0) == 0.1


def test_it_comes_back_from_json() -> None:
    config = TrainConfig("data.yaml", min_size=(320, 640), options={"box_nms_thresh": 0.6}, lr=0.1)
    plain = json.loads(json.dumps(config.as_dict())) | {"data_digest": "ab"}
    assert TrainConfig.of(plain) == config


IMPOSSIBLE: tuple[tuple[str, Any], ...] = (
    *(("batch", 0), ("epochs", 0), ("lr", -1.0), ("lr", "fast"), ("flip", 2), ("crop", 0)),
    *(("momentum", float("nan")), ("trainable_layers", 6), ("min_size", (8,)), ("min_size", ())),
)


@pytest.mark.parametrize(("name", "value"), IMPOSSIBLE)
def test_impossible_values(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name.split('_')[0]}|side"):
        TrainConfig(**{name: value})
