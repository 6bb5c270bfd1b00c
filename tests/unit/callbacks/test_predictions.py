from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from tests.helpers.photos import make_photos, make_split_photos
from tests.helpers.training import (
    IMAGE_SIZE,
    LIGHTNING_NOTICES,
    NUM_CLASSES,
    assert_same_run,
    fit_photos,
    make_learnable_photos,
    make_loader,
    make_model,
    make_trainer,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from classifier_training.callbacks import ConfusionMatrixCallback, PredictionsCallback, SampleVisualizationCallback
from classifier_training.callbacks.predictions import ReadsPredictions
from classifier_training.data import ImageFolderDataModule
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.run.folder import RunFolder

pytestmark = LIGHTNING_NOTICES


def make_data(root: Path, **settings: Any) -> ImageFolderDataModule:
    return ImageFolderDataModule(root, batch_size=4, image_size=IMAGE_SIZE, num_workers=0, cache="none", **settings)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class ForeignLogits(lightning.LightningModule):
    """Somebody else's module, whose steps return logits, of batches ``(images, labels)``."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, NUM_CLASSES)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.head(batch[0].mean((2, 3))), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        return {"logits": self.head(batch[0].mean((2, 3)))}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def make_foreign_loader(num_images: int = 12) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(num_images, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    return DataLoader(TensorDataset(images, torch.arange(num_images) % NUM_CLASSES), 5)


def test_the_tables_are_of_the_latest_epoch(tmp_path: Path) -> None:
    photos, callback = make_split_photos(tmp_path / "photos"), PredictionsCallback(tmp_path / "run")
    model = make_model(classes=2)
    make_trainer(tmp_path, callback, max_epochs=2).fit(model, datamodule=make_data(photos))
    folder = RunFolder(tmp_path / "run").scored("val")
    scores, rows = json.loads(folder.scores.read_text()), read(folder.predictions)
    assert scores["description"] == f"the val split of {photos}"
    assert (scores["split"], scores["epoch"], scores["model"]) == ("val", 1, "model in training")
    assert scores["classes"] == ["cat", "dog"]
    assert model.scores is not None
    assert callback.latest_scores is not None
    for name in ("num_images", "top1", "top5", "balanced_accuracy", "macro_f1"):
        assert scores[name] == getattr(model.scores, name) == getattr(callback.latest_scores, name)
    np.testing.assert_array_equal(callback.latest_scores.confusion, model.scores.confusion)
    assert [row["file"] for row in rows] == [str(photos / "val" / name / f"{n}.png") for name in ("cat", "dog")
                                             for n in range(3)]  # fmt: skip
    assert [row["true"] for row in rows] == ["cat"] * 3 + ["dog"] * 3
    assert folder.confusion.is_file()
    assert not RunFolder(tmp_path / "run").scored("test").root.exists()


@pytest.mark.parametrize("num_test", [3, 0])
def test_a_test_goes_where_its_images_are(num_test: int, tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos", test=num_test)
    trainer = make_trainer(tmp_path, PredictionsCallback(tmp_path / "run"))
    trainer.test(make_model(classes=2), datamodule=make_data(photos), verbose=False)
    split = "test" if num_test else "val"
    assert [path.name for path in (tmp_path / "run").iterdir()] == [split]
    scores = json.loads((tmp_path / "run" / split / "scores.json").read_text())
    assert (scores["split"], scores["epoch"]) == (split, None)


def test_the_sanity_check_is_not_shown(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Sizes(PredictionsCallback):
        def on_pass_end(self, trainer: Any, pl_module: Any, scored: ScoredPass) -> None:
            sizes.append(len(scored.predictions))

    photos = make_split_photos(tmp_path / "photos")
    trainer = make_trainer(tmp_path, Sizes(tmp_path / "run"), num_sanity_val_steps=1)
    trainer.fit(make_model(classes=2), datamodule=make_data(photos))
    assert sizes == [6]


def test_one_image_and_a_class_without_any(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"train/cat": 4, "train/dog": 4, "val/dog": 1})
    callbacks = [kind(tmp_path / "run") for kind in ALL]
    make_trainer(tmp_path, *callbacks).fit(make_model(classes=2), datamodule=make_data(photos))
    scores = json.loads((tmp_path / "run" / "val" / "scores.json").read_text())
    assert scores["num_images"] == 1
    assert scores["per_class"][0]["recall"] is None
    assert len(read(tmp_path / "run" / "val" / "predictions.csv")) == 1


ALL: tuple[Any, ...] = (PredictionsCallback, ConfusionMatrixCallback, SampleVisualizationCallback)


def test_part_of_a_split_keeps_its_files(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos", val=6)
    trainer = make_trainer(tmp_path, *[kind(tmp_path / "run") for kind in ALL], limit_val_batches=2)
    trainer.fit(make_model(classes=2), datamodule=make_data(photos))
    rows = read(tmp_path / "run" / "val" / "predictions.csv")
    assert [Path(row["file"]).parent.name for row in rows] == ["cat"] * 6 + ["dog"] * 2
    assert [row["true"] for row in rows] == ["cat"] * 6 + ["dog"] * 2


def test_classes_and_images_of_a_foreign_module_are_numbers(tmp_path: Path) -> None:
    callback = PredictionsCallback(tmp_path / "run")
    loader = make_foreign_loader()
    make_trainer(tmp_path, callback).fit(ForeignLogits(), loader, [loader, make_foreign_loader(3)])
    rows = read(tmp_path / "run" / "val" / "predictions.csv")
    assert [row["file"] for row in rows] == [str(number) for number in range(12)]
    assert [row["true"] for row in rows] == [str(number % NUM_CLASSES) for number in range(12)]


def test_batches_of_another_source_are_not_taken_for_the_photos(tmp_path: Path) -> None:
    class Other(ImageFolderDataModule):
        def val_dataloader(self) -> Any:
            return make_loader(2, num_classes=2)

    photos = make_split_photos(tmp_path / "photos", val=20)
    callback = PredictionsCallback(tmp_path / "run")
    data = Other(photos, batch_size=4, image_size=IMAGE_SIZE, num_workers=0, cache="none")
    make_trainer(tmp_path, callback).fit(make_model(classes=2), datamodule=data)
    assert callback.source.latest is not None
    assert callback.source.latest.images.records is None
    assert callback.source.latest.images.files[0] == "0"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_predictions_are_collected_once_in_any_order_of_the_callbacks(order: tuple[int, ...], tmp_path: Path) -> None:
    callbacks: list[Any] = [ALL[number](tmp_path / "run") for number in order]
    trainer = make_trainer(tmp_path, *callbacks, max_epochs=2)
    trainer.fit(make_model(classes=2), datamodule=make_data(make_split_photos(tmp_path / "photos")))
    used: list[ReadsPredictions] = [callback for callback in callbacks if callback.source.latest is not None]
    assert [type(callback) for callback in used] == [PredictionsCallback]
    files = {path.name for path in (tmp_path / "run" / "val").iterdir()}
    assert files >= {"scores.json", "confusion_matrix.png", "pictures.json", "samples.png", "worst_errors.png"}


def test_what_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    trainer = make_trainer(tmp_path, PredictionsCallback(tmp_path / "run"))
    with pytest.warns(UserWarning, match="could not be made, the rest continues"):
        trainer.fit(make_model(classes=2), datamodule=make_data(make_split_photos(tmp_path / "photos")))
    assert trainer.global_step == 3


def test_a_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    photos = make_learnable_photos(tmp_path / "photos")
    fit_photos(tmp_path / "without", photos)
    fit_photos(tmp_path / "with", photos, *[kind(tmp_path / "run") for kind in ALL])
    for folder in ("with", "without"):
        for checkpoint in (tmp_path / folder).glob("*.ckpt"):
            content = torch.load(checkpoint, weights_only=True)
            content["callbacks"] = {key: state for key, state in content["callbacks"].items() if state}
            torch.save(content, checkpoint)
    assert_same_run(tmp_path / "with", tmp_path / "without")


def test_what_fails_after_a_pass_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("a matrix of too many classes")

    monkeypatch.setattr("classifier_training.callbacks.prediction_source.scores_from_confusion", fail)
    callback = PredictionsCallback(tmp_path)
    data = TensorDataset(torch.rand(6, 3, 8, 8), torch.arange(6) % NUM_CLASSES)
    with pytest.warns(UserWarning, match="out of memory"):
        make_trainer(tmp_path, callback).validate(ForeignLogits(), DataLoader(data, 3), verbose=False)
    assert callback.latest is None


def test_a_validation_in_the_middle_of_an_epoch_names_its_step(tmp_path: Path) -> None:
    titles: list[str] = []

    class Titles(PredictionsCallback):
        def on_pass_end(self, trainer: Any, pl_module: Any, scored: ScoredPass) -> None:
            titles.append(scored.title.partition(":")[0])

    trainer = make_trainer(tmp_path, Titles(tmp_path), val_check_interval=2, max_epochs=2)
    trainer.fit(ForeignLogits(), make_foreign_loader(20), make_foreign_loader(5))
    ends = ["after step 2", "after epoch 1", "after step 6", "after epoch 2"]
    assert titles == [f"the val split {end}" for end in ends]
