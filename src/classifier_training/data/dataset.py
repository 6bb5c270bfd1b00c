"""Labelled pictures as torch datasets, and how their items become a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from classifier_training.data.sampler import Draw
from classifier_training.data.transforms import TrainTransform
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import preprocess
from classifier_training.seeding import mix_seed
from classifier_training.types import ClassificationBatch, Preprocessing

Item = tuple[Tensor, int, int]
"""Image float32 (3, S, S), class index, position in the dataset."""


class TrainDataset(Dataset[Item]):
    """Training pictures; an item is asked for by a `Draw`, which decides its augmentation.

    Args:
        paths: The files.
        labels: Their class indices.
        transform: The augmentation.
        seed: The run's seed.
    """

    def __init__(self, paths: Sequence[str], labels: Sequence[int], transform: TrainTransform, seed: int) -> None:
        self.paths = paths
        self.labels = labels
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, draw: Draw) -> Item:
        image = decode_image(self.paths[draw.sample])
        seed = mix_seed(self.seed, draw.epoch, draw.number)
        return self.transform(image, seed), self.labels[draw.sample], draw.sample


class EvaluationDataset(Dataset[Item]):
    """Pictures to score on, preprocessed exactly as the deployed model preprocesses them.

    Args:
        paths: The files.
        labels: Their class indices.
        preprocessing: The model's preprocessing.
    """

    def __init__(self, paths: Sequence[str], labels: Sequence[int], preprocessing: Preprocessing) -> None:
        self.paths = paths
        self.labels = labels
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Item:
        image = preprocess(decode_image(self.paths[index]), self.preprocessing)
        return torch.from_numpy(image), self.labels[index], index


def collate(items: Sequence[Item]) -> ClassificationBatch:
    """Stacks items into a batch."""
    images, labels, indices = zip(*items, strict=True)
    return ClassificationBatch(
        images=torch.stack(images),
        labels=torch.tensor(labels, dtype=torch.int64),
        indices=torch.tensor(indices, dtype=torch.int64),
    )
