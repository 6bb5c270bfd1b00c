from __future__ import annotations

from typing import Any

import pytest
from tests.helpers.training import make_config

from classifier_training.training.extension import describe_extension

HEAD = "the learning rate schedule now ends at epoch 40 instead of 20: "


def describe(state: dict[str, Any], *, epochs: int = 40, **scheduler: Any) -> str | None:
    before, now = (
        make_config(trainer={"max_epochs": number}, optimizer={"lr": 0.1}, scheduler=scheduler)
        for number in (20, epochs)
    )
    return describe_extension({"lr_schedulers": [state]}, before, now)


@pytest.mark.parametrize("saved", [None, {"max_epochs": 20, "warmup_steps": 10}], ids=["old", "new"])
@pytest.mark.parametrize(
    ("rate", "scheduler", "told"),
    [
        (0.05, {}, "the learning rate goes on from 0.05 and falls as a cosine to 0.001, without a new warm-up"),
        (0.05, {"name": "constant"}, "the learning rate stays at 0.05"),
        (0.05, {"name": "plateau"}, "the learning rate stays at 0.05 for as long as val/loss falls"),
        (0.05, {"name": "step"}, "the learning rate goes on from 0.05; what is left of step is stretched to it"),
        (
            0.001,
            {},
            (
                "it had reached its end, so the learning rate stays at 0.001, 1% of its peak; to train at a higher one"
                " again, start a new run with model.weights=CHECKPOINT"
            ),
        ),
    ],
)
def test_it_says_how_the_learning_rate_goes_on(
    saved: dict[str, Any] | None, rate: float, scheduler: dict[str, Any], told: str
) -> None:
    state = {"last_epoch": 60, "_last_lr": [rate, rate / 10], "lr_lambdas": [saved, saved]}
    assert describe(state, **scheduler) == HEAD + told


def test_it_says_that_a_warmup_goes_on() -> None:
    state = {"last_epoch": 6, "_last_lr": [0.01], "lr_lambdas": [{"max_epochs": 20, "warmup_steps": 10}]}
    assert describe(state) == HEAD + "the warm-up goes on, then cosine to the new end"


def test_of_a_schedule_that_does_not_change_it_says_nothing() -> None:
    state = {"last_epoch": 60, "_last_lr": [0.05], "lr_lambdas": [{"max_epochs": 20, "warmup_steps": 10}]}
    assert describe(state, epochs=20) is None


def test_a_schedule_that_was_extended_is_compared_with_what_it_is() -> None:
    """The run was killed after the first checkpoint of its extension, or before."""
    extended = {"last_epoch": 60, "_last_lr": [0.05], "lr_lambdas": [{"max_epochs": 40, "warmup_steps": 10}]}
    assert describe(extended) is None
