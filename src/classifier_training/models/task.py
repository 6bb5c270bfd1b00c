"""What a model has to answer about an image: how labels become targets, and logits predictions and scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from classifier_training.config.schema import LossConfig
from classifier_training.models.metrics import ClassificationCounts, most_probable_classes


class Task(ABC):
    """The part of a model that depends on what is asked of an image, and not on the backbone.

    Letters: B batch size, K number of classes.

    Attributes:
        default_loss: The training loss of a model that is built without one.
        num_classes: K.
    """

    default_loss: ClassVar[LossConfig]

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    @abstractmethod
    def encode_targets(self, labels: Tensor) -> Tensor:
        """The labels of a batch, as the loss and the metrics take them."""

    @abstractmethod
    def predict(self, logits: Tensor) -> Tensor:
        """The predictions that logits, float (B, K), stand for."""

    @abstractmethod
    def build_metrics(self) -> ClassificationCounts:
        """The metrics of an epoch, of which every score is logged."""


class SingleLabelTask(Task):
    """Exactly one class an image: targets are class indices, int64 (B,), or soft targets, float (B, K).

    Predicted is the most probable class, of equally probable ones the first.
    """

    default_loss = LossConfig()

    @override
    def encode_targets(self, labels: Tensor) -> Tensor:
        return labels

    @override
    def predict(self, logits: Tensor) -> Tensor:
        return most_probable_classes(logits)

    @override
    def build_metrics(self) -> ClassificationCounts:
        return ClassificationCounts(self.num_classes)
