from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.helpers.training import (
    LIGHTNING_NOTICES,
    KillAfter,
    KilledError,
    fit_photos,
    make_loader,
    make_model,
    make_trainer,
)

from classifier_training.callbacks import training_history
from classifier_training.callbacks.training_history import TrainingHistoryCallback
from classifier_training.errors import ConfigError
from classifier_training.figures.history import plot_history
from classifier_training.figures.rendering import PlottingBudget

pytestmark = LIGHTNING_NOTICES


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The epochs of each figure that is drawn."""
    epochs: list[list[int]] = []

    def note(rows: Any, *arguments: Any) -> Any:
        epochs.append([int(row["epoch"]) for row in rows])
        return plot_history(rows, *arguments)

    monkeypatch.setattr(training_history, "plot_history", note)
    return epochs


def always() -> PlottingBudget:
    return PlottingBudget(share=1e9)


def never() -> PlottingBudget:
    budget = PlottingBudget()
    budget.spent = 1e9
    return budget


def of_a_run(folder: Path, budget: PlottingBudget) -> TrainingHistoryCallback:
    return TrainingHistoryCallback(
        folder / "plots" / "history.png", folder / "metrics.csv", folder / "timings.csv", budget=budget
    )


def test_it_plots_after_every_epoch_what_the_files_hold(tmp_path: Path, photos: Path, drawn: list[list[int]]) -> None:
    callback = of_a_run(tmp_path, always())
    fit_photos(tmp_path, photos, callback)
    assert drawn == [[0], [0, 1], [0, 1, 2]]
    assert (tmp_path / "plots" / "history.png").is_file()
    assert callback.state_dict() == {"collected": []}


def test_without_time_it_plots_at_the_end(tmp_path: Path, photos: Path, drawn: list[list[int]]) -> None:
    fit_photos(tmp_path, photos, of_a_run(tmp_path, never()))
    assert drawn == [[0, 1, 2]]


def test_a_run_that_was_killed_has_its_figure_and_the_resumed_one_goes_on(
    tmp_path: Path, photos: Path, drawn: list[list[int]]
) -> None:
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, of_a_run(tmp_path, never()), KillAfter(9))
    assert drawn == [[0]]
    fit_photos(tmp_path, photos, of_a_run(tmp_path, never()))
    assert drawn == [[0], [0, 1, 2]]


def test_where_no_epoch_was_done_there_is_nothing_to_draw(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, of_a_run(tmp_path, always()), KillAfter(2))
    assert not (tmp_path / "plots").exists()


def test_without_files_it_keeps_the_metrics_itself(tmp_path: Path, drawn: list[list[int]]) -> None:
    def fit(num_epochs: int, checkpoint: Path | None) -> TrainingHistoryCallback:
        callback = TrainingHistoryCallback(tmp_path / "history.png", budget=always())
        trainer = make_trainer(tmp_path, callback, max_epochs=num_epochs)
        trainer.fit(make_model(), make_loader(2), make_loader(1), ckpt_path=checkpoint, weights_only=True)
        trainer.save_checkpoint(tmp_path / "one.ckpt")
        return callback

    fit(2, None)
    rows = fit(3, tmp_path / "one.ckpt").state_dict()["collected"]

    assert drawn == [[0], [0, 1], [0, 1, 2]]
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert all({"train/loss", "val/top1", "lr"} <= row.keys() for row in rows)


def test_a_figure_that_fails_stops_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise ValueError("no\nink")

    monkeypatch.setattr(training_history, "plot_history", fail)
    trainer = make_trainer(tmp_path, TrainingHistoryCallback(tmp_path / "history.png"))
    with pytest.warns(UserWarning, match=r"history\.png could not be made, the rest continues: no ink"):
        trainer.fit(make_model(), make_loader(2), make_loader(1))
    assert trainer.global_step == 2


def test_a_mode_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mode='best'; allowed are 'min' and 'max'"):
        TrainingHistoryCallback(tmp_path, mode="best")  # type: ignore[arg-type]  # on purpose
