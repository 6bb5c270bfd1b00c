from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.images import make_image
from tests.helpers.photos import make_split_photos
from tests.helpers.training import (
    IMAGE_SIZE,
    LIGHTNING_NOTICES,
    NUM_CLASSES,
    KillAfter,
    KilledError,
    fit_photos,
    make_loader,
    make_model,
    make_trainer,
)
from tests.unit.callbacks.test_predictions import ForeignLogits
from tests.unit.figures.nasty_names import NASTY_NAMES
from torch.utils.data import DataLoader

from classifier_training.callbacks import sample_visualization
from classifier_training.callbacks.sample_visualization import SampleVisualizationCallback
from classifier_training.data import ImageFolderDataModule
from classifier_training.errors import TrainingStopped
from classifier_training.figures.rendering import PlottingBudget
from classifier_training.figures.samples import Tile

pytestmark = LIGHTNING_NOTICES

FIGURES = {"samples.png", "worst_errors.png", "least_certain.png"}


def make_data(root: Path, **settings: Any) -> ImageFolderDataModule:
    return ImageFolderDataModule(root, batch_size=4, image_size=IMAGE_SIZE, num_workers=0, cache="none", **settings)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture
def plotted(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Tile]]:
    """The tiles of figures by their file's name, instead of the files."""
    found: dict[str, list[Tile]] = {}

    def note(path: Path, tiles: list[Tile], *, title: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(title)
        found[path.name] = tiles

    monkeypatch.setattr(sample_visualization, "plot_tiles", note)
    monkeypatch.setattr("classifier_training.results.figures.plot_tiles", note)
    return found


# -- validation pictures -----------------------------------------------------------------------------------------


def test_all_figures_and_small_images_are_there(tmp_path: Path) -> None:
    photos, model = make_split_photos(tmp_path / "photos"), make_model(classes=2)
    trainer = make_trainer(tmp_path, SampleVisualizationCallback(tmp_path / "run"))
    trainer.fit(model, datamodule=make_data(photos))
    folder = tmp_path / "run" / "val"
    assert files(folder) == {*FIGURES, "pictures.json", "pictures"}
    pictures = json.loads((folder / "pictures.json").read_text())["pictures"]
    assert {picture["index"] for picture in pictures} == set(range(6))
    assert files(folder / "pictures") == {f"{index}.jpg" for index in range(6)}
    trainer.test(model, datamodule=make_data(photos), verbose=False)
    assert files(tmp_path / "run" / "test") == {*FIGURES, "pictures.json", "pictures"}


def test_the_images_are_those_that_were_predicted(tmp_path: Path, plotted: dict[str, list[Tile]]) -> None:
    """Each photo has the colour of its place in the split."""
    for split, count in (("train", 4), ("val", 5)):
        for label, name in enumerate(("cat", "dog")):
            for number in range(count):
                grey = np.full((40, 50, 3), 20 * (count * label + number), np.uint8)
                make_image(tmp_path / "photos" / split / name / f"{number}.png", grey)
    trainer = make_trainer(tmp_path, SampleVisualizationCallback(tmp_path / "run"))
    trainer.fit(make_model(classes=2), datamodule=make_data(tmp_path / "photos"))
    shown = [tile.pixels for tile in plotted["samples.png"]]
    assert [int(pixels.mean().round()) for pixels in shown if pixels is not None] == [20 * n for n in range(10)]
    wrong = [tile for tile in plotted["samples.png"] if not tile.is_correct]
    assert len(wrong) == len(plotted["worst_errors.png"]) > 0


def test_classes_may_have_any_name(tmp_path: Path) -> None:
    allowed = [name.replace("/", "-")[:250] for name in NASTY_NAMES if name.isprintable() or "\n" in name]
    names = [name for name in allowed if name]
    for split in ("train", "val"):
        for number, name in enumerate(names):
            make_image(tmp_path / "photos" / split / f"n{name}" / f"{number}.png")
    trainer = make_trainer(tmp_path, SampleVisualizationCallback(tmp_path / "run"))
    trainer.fit(make_model(classes=len(names)), datamodule=make_data(tmp_path / "photos"))
    assert files(tmp_path / "run" / "val") >= FIGURES


def test_a_picture_that_is_gone_by_now_has_no_thumbnail(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos")

    class Remove(lightning.Callback):
        def on_validation_end(self, *arguments: Any) -> None:
            (photos / "val" / "cat" / "1.png").unlink(missing_ok=True)

    trainer = make_trainer(tmp_path, Remove(), SampleVisualizationCallback(tmp_path / "run"))
    trainer.fit(make_model(classes=2), datamodule=make_data(photos))
    pictures = json.loads((tmp_path / "run" / "val" / "pictures.json").read_text())["pictures"]
    assert [picture["index"] for picture in pictures if picture["thumbnail"] is None] == [1]


def test_postponed_images_are_plotted_when_the_training_is_stopped(tmp_path: Path) -> None:
    class Never(PlottingBudget):
        is_open = False

    photos = make_split_photos(tmp_path / "photos")
    callback = SampleVisualizationCallback(tmp_path / "run", budget=Never())
    trainer = make_trainer(tmp_path, callback, KillAfter(4), max_epochs=3)
    with pytest.raises(KilledError):
        trainer.fit(make_model(classes=2), datamodule=make_data(photos))
    assert files(tmp_path / "run" / "val") == {*FIGURES, "pictures.json", "pictures"}


@pytest.mark.parametrize("stop", [TrainingStopped("SIGTERM"), KeyboardInterrupt()])
def test_who_stops_a_training_does_not_wait_for_the_small_pictures(tmp_path: Path, stop: BaseException) -> None:
    class Stop(lightning.Callback):
        def on_train_epoch_end(self, *arguments: Any) -> None:
            raise stop

    budget = PlottingBudget()
    budget.spent = 1e9
    trainer = make_trainer(tmp_path, SampleVisualizationCallback(tmp_path / "run", budget=budget), Stop())
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        trainer.fit(make_model(classes=2), datamodule=make_data(make_split_photos(tmp_path / "photos")))
    assert files(tmp_path / "run" / "val") >= FIGURES
    assert not files(tmp_path / "run" / "val" / "pictures")


def test_no_images_can_be_asked_for(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos")
    trainer = make_trainer(tmp_path, SampleVisualizationCallback(tmp_path / "run", num_pictures=0))
    trainer.fit(make_model(classes=2), datamodule=make_data(photos))
    assert files(tmp_path / "run" / "val") == {"samples.png", "pictures.json", "pictures"}
    pictures = json.loads((tmp_path / "run" / "val" / "pictures.json").read_text())["pictures"]
    assert {tuple(picture["why"]) for picture in pictures} == {("cell",)}


def test_images_of_other_data_are_kept_while_they_pass(tmp_path: Path, plotted: dict[str, list[Tile]]) -> None:
    loader = make_loader(2)
    trainer = make_trainer(tmp_path, SampleVisualizationCallback(tmp_path, num_pictures=5))
    trainer.fit(make_model(), loader, loader)
    assert files(tmp_path / "val") == FIGURES
    assert len(plotted["samples.png"]) == len(plotted["least_certain.png"]) == 5
    assert not any(tile.is_correct for tile in plotted["worst_errors.png"])
    tiles = [tile for tiles in plotted.values() for tile in tiles]
    assert all(tile.pixels is not None and tile.pixels.shape == (IMAGE_SIZE, IMAGE_SIZE, 3) for tile in tiles)


# -- training pictures -------------------------------------------------------------------------------------------


class FirstBatch(lightning.Callback):
    """Notes what the model gets."""

    images: torch.Tensor | None = None
    labels: torch.Tensor | None = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self.images is None:
            self.images, self.labels = batch["images"].clone(), batch["labels"].clone()


def test_training_images_are_what_the_model_got(tmp_path: Path, plotted: dict[str, list[Tile]]) -> None:
    first = FirstBatch()
    data = make_data(make_split_photos(tmp_path / "photos"), color_jitter=0.9)
    model = make_model(classes=2)
    trainer = make_trainer(tmp_path, first, SampleVisualizationCallback(tmp_path / "run"), max_epochs=2)
    trainer.fit(model, datamodule=data)
    tiles = plotted["train_batch.png"]
    assert first.images is not None
    assert first.labels is not None
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.preprocessing.mean, data.preprocessing.std))
    for tile, image, label in zip(tiles, first.images, first.labels.tolist(), strict=True):
        expected: NDArray[Any] = ((image * std + mean) * 255).round().clamp(0, 255).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(tile.pixels, expected)
        assert tile.lines == (model.classes[label],)
    title = (tmp_path / "run" / "plots" / "train_batch.png").read_text()
    size = first.images.shape[-1]
    assert title == f"training images as the model received them: epoch 1, batch 1, {size} px"


def test_the_training_batch_is_written_as_a_picture(tmp_path: Path) -> None:
    make_trainer(tmp_path, SampleVisualizationCallback(tmp_path)).fit(make_model(), make_loader(2), make_loader(1))
    with Image.open(tmp_path / "plots" / "train_batch.png") as image:
        assert image.width > 1000


def test_a_resumed_training_keeps_the_first_batch(tmp_path: Path, photos: Path, plotted: dict[str, list[Tile]]) -> None:
    path = tmp_path / "run" / "plots" / "train_batch.png"
    with pytest.raises(KilledError):
        fit_photos(tmp_path, photos, SampleVisualizationCallback(tmp_path / "run"), KillAfter(8), every_n_steps=1)
    before = path.stat().st_ino, plotted.pop("train_batch.png")
    fit_photos(tmp_path, photos, SampleVisualizationCallback(tmp_path / "run"), every_n_steps=1)
    assert path.stat().st_ino == before[0]
    assert "train_batch.png" not in plotted


def test_a_new_training_plots_its_own(tmp_path: Path, plotted: dict[str, list[Tile]]) -> None:
    callback = SampleVisualizationCallback(tmp_path)
    for _ in range(2):
        plotted.clear()
        make_trainer(tmp_path, callback).fit(make_model(), make_loader(2), make_loader(1))
        assert "train_batch.png" in plotted


class ForeignModule(lightning.LightningModule):
    """Learns from labels of any kind."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 4)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.head(batch["images"].mean((2, 3))), batch["labels"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Mixing(lightning.Callback):
    """Mixes every image with the next one, as mixup does."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        shares = torch.nn.functional.one_hot(batch["labels"], 4).float()
        batch["labels"] = 0.7 * shares + 0.3 * shares.roll(1, 0)


def test_mixed_labels_are_shown_with_their_shares(tmp_path: Path, plotted: dict[str, list[Tile]]) -> None:
    make_trainer(tmp_path, Mixing(), SampleVisualizationCallback(tmp_path)).fit(ForeignModule(), make_loader(2))
    assert [tile.lines for tile in plotted["train_batch.png"]][:2] == [("0 70%", "3 30%"), ("1 70%", "0 30%")]


def test_mixed_images_are_shown_as_the_model_got_them(tmp_path: Path, plotted: dict[str, list[Tile]]) -> None:
    first = FirstBatch()
    data = make_data(make_split_photos(tmp_path / "photos"), mixup=50.0, seed=2)
    make_trainer(tmp_path, first, SampleVisualizationCallback(tmp_path)).fit(make_model(classes=2), datamodule=data)
    tiles = plotted["train_batch.png"]
    assert first.images is not None
    assert first.labels is not None
    assert (first.labels.shape[1], first.labels.dtype) == (2, torch.float32)
    for tile, target in zip(tiles, first.labels, strict=True):
        shares = sorted((share for share in target.tolist() if share), reverse=True)
        assert [line.split()[-1] for line in tile.lines] == [f"{share:.0%}" for share in shares]
    assert {len(tile.lines) for tile in tiles} == {2}


@pytest.mark.parametrize("batch", [{"labels": 1}, {"images": torch.zeros(2, 9)}, torch.zeros(2, 3), [1], None])
def test_batches_without_images_are_left_alone(batch: Any, tmp_path: Path, plotted: dict[str, list[Tile]]) -> None:
    callback = SampleVisualizationCallback(tmp_path)
    trainer = make_trainer(tmp_path)
    callback.on_train_start(trainer, make_model())
    callback.on_train_batch_start(trainer, make_model(), batch, 0)
    assert not plotted


@pytest.mark.parametrize("num_images", [4, 20])
def test_images_that_are_not_one_for_each_label_are_not_shown(tmp_path: Path, num_images: int) -> None:
    class Crops(ForeignLogits):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, torch.Tensor]:
            return {"logits": torch.eye(NUM_CLASSES)[:, batch[1]].T}

    images, labels = torch.rand(num_images, 3, 8, 8), torch.arange(10) % NUM_CLASSES
    loader: DataLoader[Any] = DataLoader(cast("Any", [(images, labels)]), batch_size=None)
    make_trainer(tmp_path, SampleVisualizationCallback(tmp_path / "run")).validate(Crops(), loader, verbose=False)
    assert files(tmp_path / "run" / "val") == set()
