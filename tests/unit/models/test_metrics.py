from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, top_k_accuracy_score
from tests.helpers.confusion import confusion_and_top5
from torch import Tensor

from classifier_training.metrics.scores import Scores, scores_from_confusion
from classifier_training.models.metrics import ClassificationCounts, ExactMean, most_probable_classes


def make_case(num_classes: int, absent: int = 0, num_images: int = 200) -> tuple[Tensor, Tensor]:
    """Logits that are right about half of the time; the last ``absent`` classes have no image."""
    generator = torch.Generator().manual_seed(num_classes)
    labels = torch.randint(num_classes - absent, (num_images,), generator=generator)
    logits = torch.randn(num_images, num_classes, generator=generator)
    return logits + 1.5 * torch.nn.functional.one_hot(labels, num_classes), labels


def update(counts: ClassificationCounts, logits: Tensor, labels: Tensor) -> None:
    counts.update(logits, most_probable_classes(logits), labels)


def count(logits: Tensor, labels: Tensor, batch_size: int = 7) -> Scores:
    counts = ClassificationCounts(logits.shape[1])
    for batch in zip(torch.split(logits, batch_size), torch.split(labels, batch_size), strict=True):
        update(counts, *batch)
    return counts.compute()


@pytest.mark.parametrize(("num_classes", "absent"), [(2, 0), (3, 0), (5, 0), (6, 0), (12, 0), (12, 3), (4, 2)])
def test_scores_are_those_of_scikit_learn(num_classes: int, absent: int) -> None:
    logits, labels = make_case(num_classes, absent)
    scores, predicted = count(logits, labels), logits.argmax(dim=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predicted classes without images
        balanced = balanced_accuracy_score(labels, predicted)
    assert scores.top1 == pytest.approx(float((predicted == labels).double().mean()))
    assert scores.balanced_accuracy == pytest.approx(balanced)
    assert scores.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    np.testing.assert_array_equal(scores.confusion, confusion_matrix(labels, predicted, labels=range(num_classes)))


@pytest.mark.parametrize("num_classes", [6, 7, 40])
def test_top5_is_that_of_scikit_learn(num_classes: int) -> None:
    logits, labels = make_case(num_classes)
    expected = top_k_accuracy_score(labels, logits, k=5, labels=range(num_classes))
    assert count(logits, labels).top5 == pytest.approx(expected)


@pytest.mark.parametrize("num_classes", [2, 4, 5])
def test_top5_of_five_classes_or_fewer_is_always_a_hit(num_classes: int) -> None:
    assert count(*make_case(num_classes)).top5 == 1.0


@pytest.mark.parametrize("num_classes", [3, 7, 12])
def test_counts_are_those_of_the_torch_free_scores_also_where_logits_tie(num_classes: int) -> None:
    logits, labels = make_case(num_classes)
    logits = (logits * 2).round() / 2  # many ties, as half precision has them
    confusion, num_top5 = confusion_and_top5(logits.numpy(), labels.numpy())
    expected, scores = scores_from_confusion(confusion, num_top5), count(logits, labels)
    np.testing.assert_array_equal(scores.confusion, expected.confusion)
    assert scores.top5 == expected.top5


def test_an_answer_that_is_no_number_is_counted_alike() -> None:
    logits, labels = make_case(7)
    logits[::3, 2] = torch.nan
    logits[1] = torch.nan
    confusion, num_top5 = confusion_and_top5(logits.numpy(), labels.numpy())
    scores = count(logits, labels)
    np.testing.assert_array_equal(scores.confusion, confusion)
    assert scores.top5 == num_top5 / len(labels)


def test_the_size_of_batches_does_not_matter() -> None:
    logits, labels = make_case(9)
    one, other = count(logits, labels, 200), count(logits, labels, 1)
    assert one.to_dict("abcdefghi") == other.to_dict("abcdefghi")


def test_a_reset_forgets_everything() -> None:
    logits, labels = make_case(7)
    counts = ClassificationCounts(7)
    update(counts, logits.flip(0), labels)
    counts.reset()
    update(counts, logits, labels)
    assert counts.compute().to_dict("abcdefg") == count(logits, labels).to_dict("abcdefg")


def test_counts_stay_out_of_checkpoints() -> None:
    counts = ClassificationCounts(7)
    update(counts, *make_case(7))
    assert counts.state_dict() == {}


# -- the mean of the losses ----------------------------------------------------------------------------------------


def make_losses(num_images: int = 499) -> Tensor:
    """Losses over eight orders of magnitude, so that adding them in float32 or float64 rounds at every step."""
    return torch.exp(torch.randn(num_images, generator=torch.Generator().manual_seed(0)) * 5)


def mean_of(values: Tensor, batch_size: int) -> float:
    mean = ExactMean()
    for batch in torch.split(values, batch_size):
        mean.update(batch)
    return float(mean.compute())


def test_the_mean_is_the_exact_sum_divided_once() -> None:
    losses = make_losses()
    exact = sum(map(Fraction, losses.tolist())) / len(losses)
    assert mean_of(losses, 7) == pytest.approx(float(exact), rel=1e-15)


def test_the_mean_has_the_same_bits_in_any_order_and_any_batches() -> None:
    losses = make_losses()
    orders = [torch.randperm(len(losses), generator=torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert len({mean_of(losses[order], 1 + number) for number, order in enumerate(orders)}) == 1
    assert len({float(losses[order].double().cumsum(0)[-1]) for order in orders}) > 1, "the test can fail"


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_no_number_is_seen(value: float) -> None:
    losses = torch.tensor([1.0, value, 2.0])
    assert str(mean_of(losses, 2)) == str(value)


def test_a_mean_is_reset_and_stays_out_of_checkpoints() -> None:
    mean = ExactMean()
    mean.update(torch.tensor([5.0, 7.0]))
    assert mean.state_dict() == {}
    mean.reset()
    mean.update(torch.tensor([1.0, 2.0], requires_grad=True))
    assert float(mean.compute()) == 1.5
    assert mean.compute().dtype == torch.float64
