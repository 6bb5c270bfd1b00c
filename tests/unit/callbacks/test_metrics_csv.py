from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
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
from torch.utils.data import DataLoader

from classifier_training.callbacks.metrics_csv import FIRST_COLUMNS, MetricsCSV
from classifier_training.callbacks.throughput import Throughput

pytestmark = LIGHTNING_NOTICES


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_there_is_one_row_an_epoch_with_every_metric(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    trainer = make_trainer(tmp_path, Throughput(), MetricsCSV(path), max_epochs=3)
    trainer.fit(make_model(), make_loader(3), make_loader(1))
    rows = read(path)
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "3"), ("1", "6"), ("2", "9")]
    assert tuple(rows[0]) == (*FIRST_COLUMNS, "lr")
    for name, value in trainer.callback_metrics.items():
        assert float(rows[-1][name]) == float(value), "a number was rounded"


def test_the_file_grows_epoch_by_epoch(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, KillAfter(13))
    assert [row["epoch"] for row in read(tmp_path / "metrics.csv")] == ["0", "1"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_learnable_photos(tmp_path / "photos")


@pytest.mark.parametrize(("kill_after", "every_n_steps"), [(13, None), (8, None), (8, 1), (3, 1)])
def test_a_resumed_run_has_no_epoch_twice(
    tmp_path: Path, photos: Path, kill_after: int, every_n_steps: int | None
) -> None:
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, KillAfter(kill_after), every_n_steps=every_n_steps)
    fit_photos(tmp_path, photos, every_n_steps=every_n_steps)
    assert [row["epoch"] for row in read(tmp_path / "metrics.csv")] == ["0", "1", "2"]


def test_rows_of_epochs_that_are_trained_again_are_replaced(tmp_path: Path, photos: Path) -> None:
    """The process died after the row of an epoch and before its checkpoint."""
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, KillAfter(8))
    path = tmp_path / "metrics.csv"
    first = read(path)[0]
    with path.open("a", newline="") as file:
        csv.DictWriter(file, list(first)).writerow({**first, "epoch": "1", "val/top1": "77"})
    fit_photos(tmp_path, photos)
    rows = read(path)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert rows[0] == first
    assert float(rows[1]["val/top1"]) <= 1


def test_a_new_run_does_not_read_what_an_earlier_one_left(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,val/top1\n7,70,0.5\n")
    make_trainer(tmp_path, MetricsCSV(path)).fit(make_model(), make_loader(2), make_loader(1))
    assert [row["epoch"] for row in read(path)] == ["0"]


def test_a_metric_that_appears_late_leaves_earlier_rows_empty(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    trainer = make_trainer(tmp_path, MetricsCSV(path), max_epochs=2, check_val_every_n_epoch=2)
    trainer.fit(make_model(), make_loader(2), make_loader(1))
    first, second = read(path)
    assert first["val/top1"] == ""
    assert 0 <= float(second["val/top1"]) <= 1


def test_what_is_not_a_number_is_written_as_such(tmp_path: Path) -> None:
    model = make_model()
    model.on_validation_epoch_end = lambda: model.log("val/odd", torch.tensor(math.nan))  # type: ignore[method-assign]
    path = tmp_path / "metrics.csv"
    make_trainer(tmp_path, MetricsCSV(path)).fit(model, make_loader(2), make_loader(1))
    assert read(path)[0]["val/odd"] == "nan"


def test_it_needs_no_batch_of_ours(tmp_path: Path) -> None:
    from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset

    path = tmp_path / "deep" / "metrics.csv"
    trainer = make_trainer(tmp_path, MetricsCSV(path))
    trainer.fit(BoringModel(), DataLoader(RandomDataset(32, 4)))
    assert [row["step"] for row in read(path)] == ["4"]
