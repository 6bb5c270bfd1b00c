from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer

from classifier_training.callbacks import throughput
from classifier_training.callbacks.throughput import Throughput

pytestmark = LIGHTNING_NOTICES


class Clock:
    """Stands still, unless a training moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


class Pace(lightning.Callback):
    """Lets a training batch take two seconds, a validation batch a thousand."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_start(self, *arguments: Any) -> None:
        self.clock.now += 2

    def on_validation_batch_start(self, *arguments: Any) -> None:
        self.clock.now += 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


def test_it_logs_the_images_of_an_epoch_by_its_training_seconds(tmp_path: Path, clock: Clock) -> None:
    callback = Throughput()
    trainer = make_trainer(tmp_path, callback, Pace(clock), max_epochs=2)
    trainer.fit(make_model(), make_loader(3, batch_size=8), make_loader(2))
    assert float(trainer.callback_metrics["images_per_second"]) == 4.0
    assert (callback.num_images, callback.seconds) == (24, 6.0)


def test_a_last_batch_that_is_smaller_counts_what_it_has(tmp_path: Path, clock: Clock) -> None:
    callback = Throughput()
    loader = make_loader(1, batch_size=10)
    smaller = type(loader)(loader.dataset, batch_size=8)
    make_trainer(tmp_path, callback, Pace(clock)).fit(make_model(), smaller, make_loader(1))
    assert (callback.num_images, callback.seconds) == (10, 4.0)


def test_there_is_no_rate_before_the_first_batch() -> None:
    assert Throughput().images_per_second == 0.0
