from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer

from classifier_training.callbacks import MetricsCSV, TrainingHistoryCallback
from classifier_training.callbacks.epoch_metrics import EpochMetrics

pytestmark = LIGHTNING_NOTICES


def test_an_epoch_without_validation_has_no_validation_metrics(tmp_path: Path) -> None:
    read: list[dict[str, float]] = []

    class Reads(lightning.Callback):
        metrics = EpochMetrics()

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            read.append(self.metrics.read(trainer))
            assert "val/top1" in trainer.callback_metrics or not read[1:]

    history, table = TrainingHistoryCallback(tmp_path / "history.png"), MetricsCSV(tmp_path / "metrics.csv")
    trainer = make_trainer(tmp_path, Reads(), history, table, max_epochs=5, check_val_every_n_epoch=2)
    trainer.fit(make_model(), make_loader(2), make_loader(1))

    assert ["train/loss" in metrics for metrics in read] == [True] * 5
    is_validated = [False, True, False, True, False]
    assert ["val/top1" in metrics for metrics in read] == is_validated
    assert ["val/top1" in row for row in history.state_dict()["collected"]] == is_validated
    with (tmp_path / "metrics.csv").open(encoding="utf-8", newline="") as file:
        assert [bool(row["val/top1"]) for row in csv.DictReader(file)] == is_validated
