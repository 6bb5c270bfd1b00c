from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import lightning
import pytest
from tests.helpers.run_folders import RunMaker
from tests.helpers.training import LIGHTNING_NOTICES, KillAfter, KilledError, make_loader, make_model, make_trainer

from classifier_training.callbacks import report as report_module
from classifier_training.callbacks.metrics_csv import MetricsCSV
from classifier_training.callbacks.report import CHEAP_SECONDS, ReportCallback
from classifier_training.figures.rendering import PlottingBudget
from classifier_training.run.folder import RunFolder

pytestmark = LIGHTNING_NOTICES


class Pages(lightning.Callback):
    """Keeps the page that lies there after each epoch."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.pages: list[str] = []

    def on_train_epoch_end(self, *arguments: Any) -> None:
        self.pages.append(self.run.report.read_text(encoding="utf-8") if self.run.report.exists() else "")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that has just begun."""
    run = RunMaker(4, num_epochs=0, is_finished=False).make(tmp_path / "run")
    run.metrics.unlink(missing_ok=True)
    return run


def fit(run: RunFolder, *callbacks: lightning.Callback, **options: Any) -> lightning.Trainer:
    trainer = make_trainer(run.root, MetricsCSV(run.metrics), *callbacks, **options)
    trainer.fit(make_model(), make_loader(2), make_loader(1))
    return trainer


def test_the_page_is_current_after_each_epoch(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "CHEAP_SECONDS", math.inf)  # however slow this machine is
    pages = Pages(run)

    fit(run, ReportCallback(run.root), pages, max_epochs=2)

    assert len(pages.pages) == 2
    for number, page in enumerate(pages.pages, start=1):
        assert page.startswith("<!doctype html>")
        assert f"{number} of 3" in page.replace("\N{NO-BREAK SPACE}", " ")


def test_a_training_that_fails_leaves_a_page(run: RunFolder) -> None:
    trainer = make_trainer(run.root, ReportCallback(run.root), KillAfter(1))

    with pytest.raises(KilledError):
        trainer.fit(make_model(), make_loader(2), make_loader(1))

    assert run.report.is_file()


def test_nothing_is_written_where_there_is_no_run(tmp_path: Path) -> None:
    fit(RunFolder(tmp_path), ReportCallback(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_an_expensive_page_waits_for_the_budget_and_is_written_at_the_end(run: RunFolder) -> None:
    budget = PlottingBudget(share=0)
    budget.spent = 1
    callback, pages = ReportCallback(run.root, budget), Pages(run)
    callback.seconds = 2 * CHEAP_SECONDS

    fit(run, callback, pages, max_epochs=2)

    assert pages.pages == ["", ""]
    assert run.report.is_file()
    assert budget.spent > 1


def test_a_page_that_cannot_be_written_costs_a_warning_and_not_the_training(run: RunFolder) -> None:
    run.report.mkdir()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = fit(run, ReportCallback(run.root))

    assert trainer.global_step == 2
    assert any("report.html could not be made, the rest continues" in str(one.message) for one in caught)


def test_other_ranks_write_nothing(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightning.Trainer, "is_global_zero", property(lambda trainer: False))

    make_trainer(run.root, ReportCallback(run.root)).fit(make_model(), make_loader(2), make_loader(1))

    assert not run.report.exists()
