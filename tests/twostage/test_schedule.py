"""Schedules by name, and the learning rate at every iteration."""

from __future__ import annotations

from typing import Any

import pytest

from afpn_yolo.twostage.data import Source
from afpn_yolo.twostage.design import Sides
from afpn_yolo.twostage.plan import Plan, differences
from afpn_yolo.twostage.schedule import learning_rate, schedule_of

SOURCE = Source("train.yaml", "train.yaml")


@pytest.mark.parametrize(
    ("name", "epochs", "steps"), [("1x", 12, (8, 11)), ("2x", 24, (16, 22)), ("36", 36, (27, 33))]
)
def test_the_papers_schedules(name: str, epochs: int, steps: tuple[int, int]) -> None:
    schedule = schedule_of(name)
    assert (schedule.epochs, schedule.steps) == (epochs, steps)
    factors = [schedule.rate(epoch, 10**6, 500) for epoch in range(epochs)]
    assert factors[steps[0] - 1] == 1
    assert factors[steps[0]] == pytest.approx(0.1)
    assert factors[steps[1]] == pytest.approx(0.01)


def test_other_lengths_keep_the_proportions() -> None:
    assert schedule_of(epochs=12) == schedule_of("1x")
    assert schedule_of(epochs=24) == schedule_of("2x")
    assert schedule_of(epochs=60).steps == (40, 55)


def test_warmup_rises_in_a_line() -> None:
    schedule = schedule_of("1x")
    assert [schedule.rate(0, i, 500) for i in (0, 250, 500)] == pytest.approx([0.001, 0.5005, 1])
    assert schedule.rate(0, 0, 0) == 1


def test_paper_rate_is_for_a_batch_of_eight() -> None:
    assert learning_rate(8) == 0.01
    assert learning_rate(16) == 0.02
    assert Plan(SOURCE, batch=4).learning_rate == 0.005
    assert Plan(SOURCE, batch=4, rate=0.1).learning_rate == 0.1


def test_differences_name_what_differs() -> None:
    plan = Plan(SOURCE, sides=Sides((320, 640), 800))
    assert differences(plan.as_dict(), plan) == []
    assert differences(plan.as_dict(), Plan(SOURCE, sides=plan.sides, seed=3)) == [
        "seed: 0 there, 3 here"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch must be an integer >= 1, got 0"),
        ({"rate": -1.0}, "lr must be from 0 to 10, got -1.0"),
        ({"rate": "fast"}, "lr must be from 0 to 10, got 'fast'"),
        ({"flip": 2}, "flip must be from 0 to 1, got 2"),
        ({"crop": 0}, "crop is the smallest share of a side, so not 0"),
        ({"half": "yes"}, "amp must be True or False, got 'yes'"),
        ({"momentum": float("nan")}, "momentum must be from 0 to 1, got nan"),
        ({"trainable_layers": 6}, "trainable layers must be an integer from 0 to 5, got 6"),
    ],
)
def test_impossible_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(SOURCE, **options)


def test_impossible_sizes_and_lengths() -> None:
    with pytest.raises(ValueError, match="sides of images must be an integer >= 32, got 8"):
        Sides((8,))
    with pytest.raises(ValueError, match="at least one size"):
        Sides(())
    with pytest.raises(ValueError, match="epochs must be an integer >= 1, got 0"):
        schedule_of(epochs=0)
    with pytest.raises(ValueError, match="schedule '3x': choose one of 1x, 2x, 36"):
        schedule_of("3x")
