from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.confusion import confusion_and_top5
from tests.helpers.training import LIGHTNING_NOTICES, NUM_CLASSES, make_loader, make_model, make_trainer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.task import SingleLabelTask

pytestmark = LIGHTNING_NOTICES


def test_predicted_is_the_most_probable_class_as_the_torch_free_scores_count_it() -> None:
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)).round()  # many ties
    logits[3, 2], logits[4] = torch.nan, torch.nan
    predicted = SingleLabelTask(6).predict(logits)
    confusion, _ = confusion_and_top5(logits.numpy(), predicted.numpy())
    assert confusion.trace() == 50


def test_targets_are_labels_or_soft_targets_as_they_are() -> None:
    task, labels = SingleLabelTask(3), torch.tensor([2, 0])
    assert torch.equal(task.encode_targets(labels), labels)
    assert torch.equal(task.encode_targets(F.one_hot(labels, 3).float()), F.one_hot(labels, 3).float())


def test_metrics_have_the_scores_that_are_logged() -> None:
    task = SingleLabelTask(4)
    metrics, logits = task.build_metrics(), torch.eye(4)
    metrics.update(logits, task.predict(logits), torch.tensor([0, 1, 2, 2]))
    expected = {"top1": 0.75, "top5": 1.0, "balanced_accuracy": 5 / 6, "macro_f1": 2 / 3}
    assert metrics.compute().by_name() == pytest.approx(expected)


class Flipped(SingleLabelTask):
    """Every label is one class further on, and so is every prediction."""

    def encode_targets(self, labels: Tensor) -> Tensor:
        return (labels + 1) % self.num_classes

    def predict(self, logits: Tensor) -> Tensor:
        return (super().predict(logits) + 1) % self.num_classes


def test_the_model_asks_its_task_for_targets_predictions_and_scores(tmp_path: Path) -> None:
    batch = next(iter(make_loader(1)))
    model = make_model().eval()
    with torch.no_grad():
        logits, plain = model(batch["images"]), float(model.training_step(batch, 0))
        model.task = Flipped(NUM_CLASSES)
        flipped = float(model.training_step(batch, 0))
    assert flipped == float(model.loss(logits, (batch["labels"] + 1) % NUM_CLASSES)) != plain
    trainer = make_trainer(tmp_path)
    trainer.validate(model, make_loader(1), verbose=False)
    expected = ((logits.argmax(dim=1) + 1) % NUM_CLASSES == (batch["labels"] + 1) % NUM_CLASSES).double().mean()
    assert float(trainer.callback_metrics["val/top1"]) == float(expected)


class OneHot(torch.utils.data.Dataset[dict[str, Any]]):
    """The same batches with soft targets."""

    def __init__(self) -> None:
        self.labelled: Any = make_loader(3).dataset

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item: dict[str, Any] = self.labelled[index]
        return item | {"labels": F.one_hot(item["labels"], NUM_CLASSES).float()}


def test_a_model_trains_on_soft_targets(tmp_path: Path) -> None:
    def trained(loader: Any) -> tuple[BaseClassificationModel, float]:
        model, trainer = make_model(optimizer={"name": "sgd", "lr": 1e-2}), make_trainer(tmp_path)
        trainer.fit(model, loader, make_loader(1))
        return model, float(trainer.callback_metrics["train/loss"])

    one, other = trained(make_loader(3)), trained(torch.utils.data.DataLoader(OneHot(), 8))
    assert other[1] == pytest.approx(one[1], rel=1e-5)
    for found, expected in zip(other[0].parameters(), one[0].parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
