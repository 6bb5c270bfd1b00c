"""Images with their predictions, and training images as the model received them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import lightning
from torch import Tensor

from classifier_training.callbacks.deferred_plot import DeferredPlot, Plot
from classifier_training.callbacks.prediction_source import logits_and_labels, parts_of
from classifier_training.callbacks.predictions import ReadsPredictions, scored_folder
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.data.index.table import RowRecords
from classifier_training.figures.rendering import PlottingBudget
from classifier_training.figures.samples import Tile, plot_tiles
from classifier_training.figures.text import shown
from classifier_training.models.example_images import ExampleCollector, as_colours
from classifier_training.results.examples import write_examples
from classifier_training.results.figures import NUM_TILES, pixels_of_records, plot_example_figures, plot_kind
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.run.folder import RunFolder
from classifier_training.types import ImageRecord, Preprocessing
from classifier_training.warn import warn_instead_of_raise


class SampleVisualizationCallback(ReadsPredictions, DeferredPlot):
    """Plots images: a sample, the worst errors, the least certain ones, and augmented training images.

    After every validation and test it writes ``samples.png``, ``worst_errors.png`` and ``least_certain.png``, and with
    an `ImageFolderDataModule`, which knows where the images are, ``pictures.json`` and its small images. Without
    one, rank 0 keeps the images to plot on the device while its batches pass. Needs what
    `PredictionsCallback` needs, and ``batch["images"]`` or ``batch[0]``, (B, 3, H, W).

    The first training batch is plotted once, as the model received it, into ``plots/train_batch.png``; not again when
    a training is resumed and the file exists.

    Args:
        folder: The run folder.
        num_pictures: How many of the worst errors and of the least certain images are shown.
        budget: Decides whether there is time to plot during a training; None: one of its own.
    """

    def __init__(self, folder: str | Path, num_pictures: int = NUM_TILES, budget: PlottingBudget | None = None) -> None:
        super().__init__(budget=budget)
        self.folder = Path(folder)
        self.num_pictures = num_pictures
        self._kept = ExampleCollector()
        self._is_first_batch = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Checks whether the training batch is plotted already."""
        super().on_train_start(trainer, pl_module)
        is_new = trainer.global_step == 0
        self._is_first_batch = trainer.is_global_zero and (is_new or not self._train_batch.is_file())

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Plots the first batch: the one time in a training that this waits for the device."""
        if not self._is_first_batch:
            return
        self._is_first_batch = False
        with warn_instead_of_raise(str(self._train_batch)), self.budget.spending():
            images, labels = parts_of(batch).get("images"), parts_of(batch).get("labels")
            if not _are_images(images):
                return
            pixels = as_colours(images[:NUM_TILES], _preprocessing(trainer, pl_module))
            lines = _labels(labels, getattr(pl_module, "classes", ()), len(pixels))
            tiles = [Tile(image, line) for image, line in zip(pixels, lines, strict=True)]
            when = f"epoch {trainer.current_epoch + 1}, batch {batch_idx + 1}, {images.shape[-1]} px"
            plot_tiles(self._train_batch, tiles, title=f"training images as the model received them: {when}")

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts to collect."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._kept = ExampleCollector()

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts to collect."""
        super().on_test_epoch_start(trainer, pl_module)
        self._kept = ExampleCollector()

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects a batch, and its images where they cannot be read again."""
        super().on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        found, images = logits_and_labels(outputs, batch), parts_of(batch).get("images")
        is_shown = trainer.is_global_zero and not trainer.sanity_checking and dataloader_idx == 0
        if not is_shown or found is None or _photos_of(trainer) is not None or not _are_images(images):
            return
        if len(images) == len(found[1]):  # several crops of an image are not that image
            self._kept.update(images, *found)

    def on_pass_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, scored: ScoredPass) -> None:
        """Plots if there is time."""
        scored = replace(scored, num_examples=self.num_pictures)
        records, preprocessing = scored.images.records, scored.preprocessing
        plot: Plot | None = None
        if _photos_of(trainer) is None:
            among = "" if trainer.world_size == 1 else " among the images of the first process"
            plot = partial(self._plot_kept, scored, self._kept, _preprocessing(trainer, pl_module), among)
        elif records is not None and preprocessing is not None:
            plot = partial(self._plot_photos, scored, records, preprocessing)
        if plot is not None:
            self.plot(plot, at_once=scored.epoch is None)

    @property
    def _train_batch(self) -> Path:
        return RunFolder(self.folder).train_batch

    def _plot_photos(
        self,
        scored: ScoredPass,
        records: Sequence[ImageRecord],
        preprocessing: Preprocessing,
        budget: PlottingBudget | None,
    ) -> None:
        folder = scored_folder(self.folder, scored)
        digest_of = records.digest if isinstance(records, RowRecords) else None
        with warn_instead_of_raise(f"the images in {folder.root}"):
            with self.budget.spending():
                plot_example_figures(folder, scored, pixels_of_records(folder, records, preprocessing, digest_of))
            if not write_examples(folder, scored, records, preprocessing, budget, digest_of):
                self._postponed = partial(self._plot_photos, scored, records, preprocessing)

    def _plot_kept(
        self,
        scored: ScoredPass,
        kept: ExampleCollector,
        preprocessing: Preprocessing | None,
        among: str,
        _: PlottingBudget | None,
    ) -> None:
        folder = scored_folder(self.folder, scored)
        with warn_instead_of_raise(f"the images in {folder.root}"), self.budget.spending():
            for kind, (images, predictions) in kept.compute().items():
                pixels = as_colours(images, preprocessing)[: self.num_pictures]
                plot_kind(folder, kind, scored, predictions, enumerate(pixels), among)


def _are_images(images: Any) -> TypeGuard[Tensor]:
    return isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] in {1, 3} and len(images) > 0


def _photos_of(trainer: lightning.Trainer) -> ImageFolderDataModule | None:
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, ImageFolderDataModule) else None


def _preprocessing(trainer: lightning.Trainer, module: lightning.LightningModule) -> Preprocessing | None:
    """How the images were normalised: as in our data module if there is one, else as in the module or another one."""
    for owner in (_photos_of(trainer), module, getattr(trainer, "datamodule", None)):
        preprocessing = getattr(owner, "preprocessing", None)
        if isinstance(preprocessing, Preprocessing):
            return preprocessing
    return None


def _labels(labels: Any, classes: Sequence[str], number: int) -> list[tuple[str, ...]]:
    """The text below each training image: its class, or the classes that it is mixed of."""
    if not isinstance(labels, Tensor) or len(labels) < number:
        return [()] * number
    values = labels[:number].detach().cpu()

    def name(index: int) -> str:
        return shown(str(classes[index]), 18) if 0 <= index < len(classes) else str(index)

    if values.ndim == 1:
        return [(name(int(value)),) for value in values.tolist()]
    if values.ndim != 2:
        return [()] * number
    lines = []
    for row in values.float():
        shares, indices = row.topk(min(2, len(row)))
        mixed = zip(shares.tolist(), indices.tolist(), strict=True)
        lines.append(tuple(f"{name(index)} {share:.0%}" for share, index in mixed if share > 0))
    return lines
