"""What the model saw of each class in an epoch, with any Trainer, and the file of the run that keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from numpy.typing import NDArray

from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.data.sampling.counts import batches_seen
from classifier_training.data.sampling.sampler import TrackingWeightedRandomSampler
from classifier_training.files.atomic import write_text
from classifier_training.files.tables import format_rows, read_columns
from classifier_training.run.sampler_distribution import COLUMNS


@dataclass(frozen=True, slots=True, eq=False)
class EpochSamples:
    """The samples of an epoch by class, over all ranks.

    Attributes:
        classes: K class names.
        images: int64 (K,), training images of each class.
        sampled: int64 (K,), how often one of them was sampled.
    """

    classes: tuple[str, ...]
    images: NDArray[np.int64]
    sampled: NDArray[np.int64]

    @property
    def repeats(self) -> NDArray[np.float64]:
        """How often each image of a class was sampled on average: float64 (K,); 0 for a class without images."""
        return self.sampled / np.maximum(self.images, 1)


def epoch_samples(trainer: lightning.Trainer, epoch: int) -> EpochSamples | None:
    """What the model has seen of an epoch.

    Known is what our data module samples, and what our sampler samples from a dataset that has ``targets`` (as
    torchvision's have) or ``labels``: N class indices.

    Args:
        trainer: Trains, or has trained.
        epoch: The epoch, from 0.

    Returns:
        None where it is not known what was sampled.
    """
    data = getattr(trainer, "datamodule", None)
    if isinstance(data, ImageFolderDataModule):
        return EpochSamples(
            data.classes, np.array(data.class_counts, np.int64), data.sample_log.counts_per_class(epoch)
        )
    loader: Any = trainer.train_dataloader
    sampler, dataset = getattr(loader, "sampler", None), getattr(loader, "dataset", None)
    targets = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if not isinstance(sampler, TrackingWeightedRandomSampler) or targets is None or loader.batch_size is None:
        return None
    labels = np.asarray(targets, np.int64)
    num_classes = int(labels.max()) + 1
    names = tuple(map(str, getattr(dataset, "classes", ())))
    classes = (*names, *map(str, range(len(names), num_classes)))
    num_classes = len(classes)
    # every rank takes batches from its share of the one list; the remainder is sampled by none of them
    num_sampled = batches_seen(trainer, epoch, len(loader)) * loader.batch_size * trainer.world_size
    num_sampled = min(num_sampled, len(sampler) * trainer.world_size)
    seen = labels[sampler.indices(epoch)[:num_sampled]]
    return EpochSamples(classes, np.bincount(labels, minlength=num_classes), np.bincount(seen, minlength=num_classes))


class SampledTable:
    """``data/sampler_distribution.csv``: a row for each epoch and class, always whole, no epoch twice after a resume.

    Args:
        path: The file.

    Attributes:
        sampled: How often each class was sampled, int64 (K,), by epoch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sampled: dict[int, NDArray[np.int64]] = {}
        self._rows: dict[int, str] = {}  # as text: with many classes, formatting takes long

    def read(self, num_epochs: int) -> None:
        """Takes over the first epochs from a file that an earlier process wrote; 0: none of them."""
        self.sampled, self._rows = {}, {}
        if num_epochs <= 0 or not self.path.is_file():
            return
        names: dict[int, list[tuple[str, int, int]]] = {}
        for number, name, *counts in read_columns(self.path, COLUMNS):
            if int(number) < num_epochs:
                names.setdefault(int(number), []).append((name, int(counts[0]), int(counts[1])))
        for epoch, rows in names.items():
            classes, images, sampled = zip(*rows, strict=True)
            self._add(epoch, EpochSamples(classes, np.array(images, np.int64), np.array(sampled, np.int64)))

    def write(self, epoch: int, samples: EpochSamples) -> None:
        """Adds an epoch, or replaces it."""
        self._add(epoch, samples)
        write_text(self.path, format_rows([COLUMNS]) + "".join(self._rows[number] for number in sorted(self._rows)))

    def _add(self, epoch: int, samples: EpochSamples) -> None:
        rows = zip(samples.classes, samples.images.tolist(), samples.sampled.tolist(), strict=True)
        self._rows[epoch] = format_rows((epoch, *row) for row in rows)
        self.sampled[epoch] = samples.sampled
