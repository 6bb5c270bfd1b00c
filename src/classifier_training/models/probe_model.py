"""The model of a linear probe: its head is fitted before the Trainer begins, which then scores and saves it."""

from __future__ import annotations

from typing import Any, cast

import torch

from classifier_training.models.backbone import head_parameters
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.head_features import linear_classifier
from classifier_training.models.linear_head import LinearHead
from classifier_training.types import ClassificationBatch


def install_head(model: BaseClassificationModel, head: LinearHead) -> None:
    """Gives a model a fitted head, on its own device."""
    classifier = linear_classifier(model.backbone, model.preprocessing.image_size, str(model.hparams["backbone"]))
    with torch.no_grad():
        classifier.weight.copy_(torch.from_numpy(head.weight))
        classifier.bias.copy_(torch.from_numpy(head.bias))


class ProbeModel(BaseClassificationModel):
    """A `BaseClassificationModel` whose head is fitted already, so that its one training step changes nothing.

    Its checkpoints are those of a `BaseClassificationModel`.

    Attributes:
        fitted_loss: The log-loss of the training images, which the epoch reports.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.automatic_optimization = False
        self.fitted_loss = 0.0

    def training_step(self, batch: ClassificationBatch, batch_idx: int) -> None:  # type: ignore[override]  # no loss
        """Reports the loss of the fit, and counts a step."""
        self.train_loss.update(torch.tensor(self.fitted_loss, device=self.device), 1)
        cast("Any", self.optimizers()).step()

    def configure_optimizers(self) -> Any:
        """An optimizer whose steps are of length 0."""
        return torch.optim.SGD(head_parameters(self.backbone), lr=0.0)
