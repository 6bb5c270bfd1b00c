"""What changes over a training besides the augmentation of single images: their size, and how batches are mixed."""

from __future__ import annotations

from typing import NamedTuple

from classifier_training.config.schema import DataConfig
from classifier_training.data.loading.mixing import BatchMixer
from classifier_training.data.loading.sizes import TrainingSizes
from classifier_training.types import Preprocessing


class BatchPlan(NamedTuple):
    """The plan of a training's batches.

    Attributes:
        sizes: The size of the images of each epoch; None: always that of the augmentation.
        mixer: Decides how batches are mixed; None: they are not.
    """

    sizes: TrainingSizes | None = None
    mixer: BatchMixer | None = None

    @classmethod
    def of(
        cls, config: DataConfig, preprocessing: Preprocessing, num_classes: int, seed: int, num_epochs: int | None
    ) -> BatchPlan:
        """The plan by the settings; for arguments and exceptions see `TrainingSizes.of` and `BatchMixer.of`."""
        sizes = TrainingSizes.of(config, preprocessing, num_epochs)
        return cls(sizes, BatchMixer.of(config, num_classes, seed, num_epochs))
