"""Collects the predictions of a validation or test."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from torch import Tensor

from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.data.index.table import RowRecords
from classifier_training.data.photos import Photos
from classifier_training.data.sources.detect import shown_root
from classifier_training.metrics.confusion import Confusion
from classifier_training.metrics.intervals import score_intervals
from classifier_training.metrics.scores import Predictions, scores_from_confusion
from classifier_training.models.predictions import PredictionCollector
from classifier_training.results.scored_pass import LabelledImages, ScoredPass
from classifier_training.warn import warn_instead_of_raise

Stage = Literal["val", "test"]


class PredictionSource:
    """Collects the predictions of a pass on all ranks; nobody waits before the pass is over.

    Attributes:
        latest: The latest pass; None before the first, and where a module gives no logits.
    """

    def __init__(self) -> None:
        self.latest: ScoredPass | None = None
        self._is_finished = True
        self._has_warned = False
        self._num_batches = 0
        self._num_classes = self._num_seen = 0
        self._collector = PredictionCollector()
        self._names = _Names()

    def begin(self) -> None:
        """Starts a pass."""
        self._is_finished, self._collector, self._num_batches = False, PredictionCollector(), 0
        self._num_classes = self._num_seen = 0

    def update(self, trainer: lightning.Trainer, outputs: Any, batch: Any) -> None:
        """Adds a batch, if it is a `ClassificationBatch` or the like, and the module gave its ``logits`` (B, K)."""
        self._num_batches += 1
        found = logits_and_labels(outputs, batch)
        if found is None:
            return
        logits, labels = found
        indices = parts_of(batch).get("indices")
        if not isinstance(indices, Tensor) or indices.shape != labels.shape or indices.is_floating_point():
            counted = torch.arange(self._num_seen, self._num_seen + len(labels), device=logits.device)
            indices = counted * trainer.world_size + trainer.global_rank  # as torch's DistributedSampler deals them out
            if trainer.world_size > 1:  # it gives every process as many, and repeats some for that
                indices = indices.where(indices < _num_images(trainer), -1)
        self._num_seen += len(labels)
        self._num_classes = logits.shape[1]
        self._collector.update(logits, labels, indices)

    def finish(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: Stage) -> ScoredPass | None:
        """The pass that is over; the same for whoever asks again. All ranks must call it."""
        if not self._is_finished:
            self._is_finished, self.latest = True, None
            predictions = self._collector.compute()
            if predictions is None:
                self._warn_of_nothing(trainer, stage)
            else:
                with warn_instead_of_raise("the predictions"):  # nothing in it waits for another rank
                    self.latest = self._scored(trainer, module, stage, predictions)
        return self.latest

    def _warn_of_nothing(self, trainer: lightning.Trainer, stage: Stage) -> None:
        if self._num_batches and trainer.is_global_zero and not self._has_warned:
            self._has_warned = True
            step = "test_step" if stage == "test" else "validation_step"
            warnings.warn(
                f"no predictions are shown: {step} has to return {{'logits': (B, K)}}, and batches need"
                " labels (B,), as batch['labels'] or batch[1]",
                stacklevel=2,
            )

    def _scored(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: Stage, predictions: Predictions
    ) -> ScoredPass:
        labels, predicted, positions = predictions.labels, predictions.predicted, self._collector.positions
        num_classes = max(self._num_classes, int(labels.max()) + 1, int(predicted.max()) + 1)
        data, split = _data(trainer, stage, positions, labels)
        photos = None if data is None else data.photos
        records = None
        if photos is not None:
            of_split = photos.records(split)
            records = RowRecords(of_split.source, np.asarray(of_split.rows)[positions])
        cells = Confusion.from_pairs(labels, predicted, num_classes)
        scores = scores_from_confusion(cells, self._collector.num_top5)
        images = LabelledImages(
            files=self._names.of(records, positions),
            labels=labels,
            classes=_classes(photos, module, num_classes),
            description=f"the {split} split" + ("" if photos is None else f" of {shown_root(photos.root)}"),
            split=split,
            records=records,
            left_out=() if photos is None else tuple(image.path for image in photos.bad),
        )
        is_fit = trainer.state.fn == TrainerFn.FITTING
        is_within_epoch = is_fit and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        return ScoredPass(
            images=images,
            model="model in training" if is_fit or trainer.ckpt_path is None else str(trainer.ckpt_path),
            scores=scores,
            predictions=predictions,
            intervals=score_intervals(scores, bootstrap=False),
            preprocessing=None if data is None else data.preprocessing,
            epoch=trainer.current_epoch if is_fit else None,
            step=trainer.global_step if is_within_epoch else None,
            precision=str(trainer.precision),
        )


@dataclass(slots=True)
class _Names:
    """Names of the images; looked up once, as they are the same in every epoch."""

    source: object = None
    positions: NDArray[np.integer[Any]] = field(default_factory=lambda: np.zeros(0, np.int64))
    names: list[str] = field(default_factory=list)

    def of(self, records: RowRecords | None, positions: NDArray[np.int64]) -> list[str]:
        rows: NDArray[np.integer[Any]] = positions if records is None else records.rows
        source = None if records is None else records.source
        if source is not self.source or not np.array_equal(rows, self.positions):
            names = [str(position) for position in rows.tolist()] if records is None else [str(one) for one in records]
            self.source, self.positions, self.names = source, rows, names
        return self.names


def parts_of(batch: Any) -> Mapping[str, Any]:
    """A batch by names, also where it came as ``(images, labels)``; empty where it is something else."""
    if isinstance(batch, list | tuple) and len(batch) > 1:
        return {"images": batch[0], "labels": batch[1]}
    return batch if isinstance(batch, Mapping) else {}


def logits_and_labels(outputs: Any, batch: Any) -> tuple[Tensor, Tensor] | None:
    """The logits (B, K) that a step returned, and the labels (B,); None where they are no such tensors."""
    if not isinstance(outputs, Mapping):
        return None
    logits, labels = outputs.get("logits"), parts_of(batch).get("labels")
    if not isinstance(logits, Tensor) or not isinstance(labels, Tensor) or labels.is_floating_point():
        return None
    fit = logits.ndim == 2 and labels.shape == logits.shape[:1] and logits.shape[1] > 1
    return (logits, labels) if fit else None


def _data(
    trainer: lightning.Trainer, stage: Stage, positions: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[ImageFolderDataModule | None, Stage]:
    """The data module of the images that were scored, and their split; None where the batches came from elsewhere."""
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, ImageFolderDataModule):
        return None, stage
    split: Stage = stage if len(data.photos.rows.get(stage, ())) else "val"
    of_split = data.photos.labels(split)
    if positions.max() >= len(of_split) or not np.array_equal(of_split[positions], labels):
        return None, stage
    return data, split


def _classes(photos: Photos | None, module: lightning.LightningModule, num_classes: int) -> tuple[str, ...]:
    named = getattr(module, "classes", ()) if photos is None else photos.classes
    if isinstance(named, Sequence) and len(named) == num_classes and all(isinstance(name, str) for name in named):
        return tuple(named)
    return tuple(map(str, range(num_classes)))


def _num_images(trainer: lightning.Trainer) -> int:
    """Images of the data loader that is scored, of several the first one's; many where that is unknown."""
    loaders: Any = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
    while isinstance(loaders, Mapping | list | tuple) and loaders:
        loaders = next(iter(loaders.values() if isinstance(loaders, Mapping) else loaders))
    dataset = getattr(loaders, "dataset", None)
    return len(dataset) if isinstance(dataset, Sized) else sys.maxsize
