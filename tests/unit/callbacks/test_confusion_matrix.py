from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.photos import make_split_photos
from tests.helpers.training import (
    IMAGE_SIZE,
    LIGHTNING_NOTICES,
    KillAfter,
    KilledError,
    make_loader,
    make_model,
    make_trainer,
)

from classifier_training.callbacks.confusion_matrix import ConfusionMatrixCallback
from classifier_training.data import ImageFolderDataModule
from classifier_training.figures.rendering import PlottingBudget

pytestmark = LIGHTNING_NOTICES

FILES = {"confusion_matrix.csv", "confusion_matrix.png", "confusion_matrix_normalized.png"}


class Never(PlottingBudget):
    """There is no time to plot."""

    is_open = False


def make_data(root: Path) -> ImageFolderDataModule:
    return ImageFolderDataModule(root, batch_size=4, image_size=IMAGE_SIZE, num_workers=0, cache="none")


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_alone_it_collects_predictions_itself(tmp_path: Path) -> None:
    model, trainer = make_model(classes=2), make_trainer(tmp_path, ConfusionMatrixCallback(tmp_path / "run"))
    data = make_data(make_split_photos(tmp_path / "photos"))
    trainer.fit(model, datamodule=data)
    assert files(tmp_path / "run" / "val") == FILES
    trainer.test(model, datamodule=data, verbose=False)
    assert files(tmp_path / "run" / "test") == FILES
    with (tmp_path / "run" / "test" / "confusion_matrix.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows[1:]] == rows[0][1:] == ["cat", "dog"]
    assert model.scores is not None
    np.testing.assert_array_equal(np.array(rows)[1:, 1:].astype(int), model.scores.confusion)


@pytest.mark.parametrize("num_classes", [2, 1000])
def test_any_number_of_classes(num_classes: int, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, ConfusionMatrixCallback(tmp_path))
    loader = make_loader(2, num_classes=min(num_classes, 16))
    trainer.validate(make_model(classes=num_classes), loader, verbose=False)
    assert files(tmp_path / "val") == FILES


def test_without_time_it_plots_when_the_training_ends(tmp_path: Path) -> None:
    seen: list[set[str]] = []

    class Look(ConfusionMatrixCallback):
        def on_train_epoch_start(self, *arguments: Any) -> None:
            seen.append(files(tmp_path / "val"))

    make_trainer(tmp_path, Look(tmp_path, Never()), max_epochs=3).fit(make_model(), make_loader(2), make_loader(1))
    assert seen == [set(), {"confusion_matrix.csv"}, {"confusion_matrix.csv"}]
    assert files(tmp_path / "val") == FILES


def test_a_training_that_was_stopped_has_its_figures(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, ConfusionMatrixCallback(tmp_path, Never()), KillAfter(3), max_epochs=3)
    with pytest.raises(KilledError):
        trainer.fit(make_model(), make_loader(2), make_loader(1))
    assert files(tmp_path / "val") == FILES


def test_each_epoch_is_plotted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr(
        "classifier_training.callbacks.confusion_matrix.plot_confusion_figures",
        lambda folder, scored: titles.append(scored.title),
    )
    callback = ConfusionMatrixCallback(tmp_path, PlottingBudget(share=1))
    make_trainer(tmp_path, callback, max_epochs=2).fit(make_model(), make_loader(2), make_loader(1))
    assert [title.split(":")[0] for title in titles] == ["the val split after epoch 1", "the val split after epoch 2"]


def test_a_figure_that_fails_costs_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise ValueError("no ink")

    monkeypatch.setattr("classifier_training.callbacks.confusion_matrix.plot_confusion_figures", fail)
    trainer = make_trainer(tmp_path, ConfusionMatrixCallback(tmp_path))
    with pytest.warns(UserWarning, match="confusion matrix in .* could not be made, the rest continues: no ink"):
        trainer.fit(make_model(), make_loader(2), make_loader(1))
