from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning
import pytest
from lightning.pytorch.loggers import CSVLogger
from tests.helpers.training import (
    LIGHTNING_NOTICES,
    KillAfter,
    KilledError,
    fit_photos,
    make_learnable_photos,
    make_loader,
    make_model,
    make_trainer,
)
from tests.unit.callbacks.test_predictions import ForeignLogits, make_foreign_loader

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


def test_it_counts_the_images_of_an_epoch_by_its_training_seconds(tmp_path: Path, clock: Clock) -> None:
    callback = Throughput(tmp_path / "timings.csv")
    trainer = make_trainer(tmp_path, callback, Pace(clock), max_epochs=2)
    trainer.fit(make_model(), make_loader(3, batch_size=8), make_loader(2))
    assert (callback.num_images, callback.seconds, callback.images_per_second) == (24, 6.0, 4.0)
    assert (tmp_path / "timings.csv").read_text() == "epoch,seconds,images_per_second\n0,6.000,4.0\n1,6.000,4.0\n"


def test_what_the_clock_decides_is_no_metric_and_goes_to_loggers(tmp_path: Path, clock: Clock) -> None:
    logger = CSVLogger(tmp_path)
    trainer = make_trainer(tmp_path, Throughput(), Pace(clock), max_epochs=2, logger=logger)
    trainer.fit(make_model(), make_loader(3, batch_size=8), make_loader(2))
    assert "images_per_second" not in trainer.callback_metrics
    with Path(logger.log_dir, "metrics.csv").open(newline="") as file:
        rates = [(row["step"], row["images_per_second"]) for row in csv.DictReader(file) if row["images_per_second"]]
    assert rates == [("3", "4.0"), ("6", "4.0")]


def test_a_resumed_run_has_no_epoch_twice(tmp_path: Path, clock: Clock) -> None:
    photos, pace = make_learnable_photos(tmp_path / "photos"), Pace(clock)
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, pace, KillAfter(9), every_n_steps=1)
    fit_photos(tmp_path, photos, pace, every_n_steps=1)
    # six batches of two seconds; the process that ended the second epoch trained three of them
    assert (tmp_path / "timings.csv").read_text().splitlines()[1:] == ["0,12.000,2.0", "1,6.000,2.0", "2,12.000,2.0"]


def test_where_only_validation_was_left_there_is_nothing_to_tell(tmp_path: Path, clock: Clock) -> None:
    class Kill(lightning.Callback):
        def on_validation_batch_start(self, *arguments: Any) -> None:
            raise KilledError

    photos = make_learnable_photos(tmp_path / "photos")
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, Pace(clock), Kill(), every_n_steps=6, max_epochs=1)
    fit_photos(tmp_path, photos, Pace(clock), every_n_steps=6, max_epochs=1)
    assert not (tmp_path / "timings.csv").exists()


def test_a_last_batch_that_is_smaller_counts_what_it_has(tmp_path: Path, clock: Clock) -> None:
    callback = Throughput()
    loader = make_loader(1, batch_size=10)
    smaller = type(loader)(loader.dataset, batch_size=8)
    make_trainer(tmp_path, callback, Pace(clock)).fit(make_model(), smaller, make_loader(1))
    assert (callback.num_images, callback.seconds) == (10, 4.0)


def test_there_is_no_rate_before_the_first_batch() -> None:
    assert Throughput().images_per_second == 0.0


def test_batches_of_tuples_and_validation_in_the_middle_of_an_epoch(tmp_path: Path, clock: Clock) -> None:
    callback = Throughput()
    trainer = make_trainer(tmp_path, callback, Pace(clock), val_check_interval=2, limit_val_batches=1)
    trainer.fit(ForeignLogits(), make_foreign_loader(20), make_foreign_loader(5))
    assert (callback.num_images, callback.seconds) == (20, 8.0)
