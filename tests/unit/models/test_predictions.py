from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.helpers.confusion import confusion_and_top5

from classifier_training.metrics.scores import predictions_from_logits
from classifier_training.models.predictions import PredictionCollector


def collect(logits: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor, batch_size: int) -> PredictionCollector:
    collector = PredictionCollector()
    for start in range(0, len(labels), batch_size):
        some = slice(start, start + batch_size)
        collector.update(logits[some], labels[some], indices[some])
    return collector


@pytest.mark.parametrize("batch_size", [1, 7, 100])
@pytest.mark.parametrize("num_classes", [2, 4, 12])
def test_it_says_what_the_logits_say_in_the_order_of_the_split(num_classes: int, batch_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, num_classes, generator=generator).round(decimals=0)  # with ties
    logits[3, 1], logits[4, 0], logits[5] = torch.nan, torch.inf, -torch.inf
    labels = torch.randint(num_classes, (40,), generator=generator)
    order = torch.randperm(40, generator=generator)
    collector = collect(logits[order], labels[order], order, batch_size)
    found, expected = collector.compute(), predictions_from_logits(logits.numpy(), labels.numpy())
    assert found is not None
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.predicted, expected.predicted)
    np.testing.assert_allclose(np.delete(found.confidence, 4), np.delete(expected.confidence, 4), atol=1e-6)
    np.testing.assert_allclose(np.delete(found.losses, 4), np.delete(expected.losses, 4), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(collector.positions, np.arange(40))
    assert collector.num_top5 == confusion_and_top5(logits.numpy(), labels.numpy())[1]


def test_a_repeated_image_counts_once_and_one_without_a_label_not_at_all() -> None:
    logits = torch.eye(3)[[0, 1, 2, 0, 1]]
    collector = collect(logits, torch.tensor([0, 1, -100, 0, 3]), torch.tensor([5, 9, 6, 5, 2]), 2)
    found = collector.compute()
    assert found is not None
    assert collector.positions.tolist() == [5, 9]
    assert found.labels.tolist() == [0, 1]
    assert collector.num_top5 == 2


def test_of_nothing_there_is_nothing_and_a_pass_is_forgotten_when_it_is_told() -> None:
    collector = PredictionCollector()
    assert collector.compute() is None
    collector.update(torch.zeros(2, 3), torch.tensor([-1, 3]), torch.tensor([0, 1]))
    assert collector.compute() is None
    collector.update(torch.zeros(2, 3), torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert collector.compute() is not None
    assert collector.compute() is None


def test_labels_and_positions_of_any_integer_type_are_understood() -> None:
    collector = PredictionCollector()
    collector.update(torch.eye(3), torch.tensor([0, 1, 1], dtype=torch.uint8), torch.arange(3, dtype=torch.uint8))
    found = collector.compute()
    assert found is not None
    assert found.labels.dtype == np.int64
    assert found.is_correct.tolist() == [True, True, False]
