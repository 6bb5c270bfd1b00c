"""The predictions of the latest validation or test, collected once for all callbacks that show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning

from classifier_training.callbacks.prediction_source import PredictionSource, Stage
from classifier_training.metrics.scores import Predictions, Scores
from classifier_training.results.folder import write_scored
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.run.folder import RunFolder, ScoredFolder
from classifier_training.warn import warn_instead_of_raise


class ReadsPredictions:
    """Base of the callbacks that show predictions.

    They take them from the Trainer's `PredictionsCallback`, or from the first of these callbacks where it has none, so
    that predictions are collected once.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.source = PredictionSource()

    def on_pass_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, scored: ScoredPass) -> None:
        """Shows a pass; called on rank 0, but not for Lightning's sanity check."""
        raise NotImplementedError

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts to collect."""
        self.source.begin()

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts to collect."""
        self.source.begin()

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects a batch; of several data loaders, the first one's."""
        if not trainer.sanity_checking and dataloader_idx == 0 and _source(trainer, self) is self.source:
            self.source.update(trainer, outputs, batch)

    def on_test_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """As for validation."""
        self.on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Shows the validation."""
        self._end(trainer, pl_module, "val")

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Shows the test."""
        self._end(trainer, pl_module, "test")

    def _end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: Stage) -> None:
        if trainer.sanity_checking:
            return
        scored = _source(trainer, self).finish(trainer, pl_module, stage)
        if scored is not None and trainer.is_global_zero:
            self.on_pass_end(trainer, pl_module, scored)


class PredictionsCallback(ReadsPredictions, lightning.Callback):
    """Writes scores and predictions after every validation and test.

    Needs the images' labels, ``batch["labels"]`` or ``batch[1]``, and what the module's step returns,
    ``{"logits": (B, K)}``; without them it only warns. ``batch["indices"]`` are the images' positions in their split;
    without them they are counted. No step waits for the device.

    Args:
        folder: The run folder; its ``val/`` and ``test/`` are written, see `ScoredFolder`.

    Attributes:
        source: Holds the latest pass.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)

    @property
    def latest(self) -> Predictions | None:
        """The predictions of the latest pass, on every rank."""
        return None if self.source.latest is None else self.source.latest.predictions

    @property
    def latest_scores(self) -> Scores | None:
        """The scores of the latest pass, on every rank."""
        return None if self.source.latest is None else self.source.latest.scores

    def on_pass_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, scored: ScoredPass) -> None:
        """Writes ``scores.json``, ``predictions.csv`` and ``confusion_matrix.csv``."""
        folder = scored_folder(self.folder, scored)
        with warn_instead_of_raise(f"the tables in {folder.root}"):
            write_scored(folder, scored)


def scored_folder(run: Path, scored: ScoredPass) -> ScoredFolder:
    """The folder of a pass in a run folder."""
    return RunFolder(run).scored(str(scored.images.split))


def _source(trainer: lightning.Trainer, reader: ReadsPredictions) -> PredictionSource:
    """The source that collects for all readers in a Trainer."""
    readers = [callback for callback in trainer.callbacks if isinstance(callback, ReadsPredictions)]  # type: ignore[attr-defined]
    collecting = [callback for callback in readers if isinstance(callback, PredictionsCallback)]
    return (collecting or readers or [reader])[0].source
