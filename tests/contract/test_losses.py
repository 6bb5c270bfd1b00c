"""What every loss keeps to; a new one is tested as soon as `LossConfig` knows its name."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from classifier_training.config.schema import LossConfig
from classifier_training.models import losses
from classifier_training.models.losses import ClassificationLoss

NAMES = get_args(LossConfig.model_fields["name"].annotation)
LOGITS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 4
WEIGHTS = [0.5, 1.0, 2.0, 4.0]
COUNTS = [8, 4, 2, 1]
SOFT = torch.randn(12, 4, generator=torch.Generator().manual_seed(2)).softmax(dim=1)
ONE_HOT = torch.nn.functional.one_hot(LABELS, 4).float()
BALANCES: list[dict[str, Any]] = [{}, {"class_weights": WEIGHTS}, {"class_counts": COUNTS}]

each = pytest.mark.parametrize("name", NAMES)
each_balance = pytest.mark.parametrize("balance", BALANCES, ids=["none", "loss_weights", "logit_adjustment"])


def make_loss(name: str, smoothing: float = 0.1, **balance: Any) -> ClassificationLoss:
    return ClassificationLoss(LossConfig.model_validate({"name": name, "label_smoothing": smoothing}), **balance)


def gradient(loss: ClassificationLoss, logits: Tensor, labels: Tensor) -> Tensor:
    logits = logits.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(logits, labels), logits)
    return found


def test_every_name_is_another_loss() -> None:
    values = {name: float(make_loss(name)(LOGITS, LABELS)) for name in NAMES}
    assert len(set(values.values())) == len(NAMES), f"two names give the same loss: {values}"


def test_every_function_is_documented_and_takes_the_same_arguments() -> None:
    functions = [
        value
        for name, value in inspect.getmembers(losses, inspect.isfunction)
        if value.__module__ == losses.__name__ and name[0] != "_"
    ]
    assert len(functions) == len(NAMES), (
        "a loss is a function here, a line in ClassificationLoss and a name in LossConfig"
    )
    for function in functions:
        assert list(inspect.signature(function).parameters)[:4] == ["logits", "labels", "weight", "label_smoothing"]
        text = inspect.getdoc(function) or ""
        assert all(f"    {name}: " in text for name in inspect.signature(function).parameters)
        assert "Returns:" in text


@each
@each_balance
def test_it_is_a_finite_positive_scalar_with_a_gradient(name: str, balance: dict[str, Any]) -> None:
    loss = make_loss(name, **balance)
    value = loss(LOGITS, LABELS)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert 0 < float(value) < 100
    assert bool(gradient(loss, LOGITS, LABELS).isfinite().all())


@each
@each_balance
def test_a_step_downhill_lowers_it(name: str, balance: dict[str, Any]) -> None:
    loss = make_loss(name, **balance)
    better = LOGITS - 0.1 * gradient(loss, LOGITS, LABELS)
    assert float(loss(better, LABELS)) < float(loss(LOGITS, LABELS))


@each
def test_it_pulls_the_true_class_up(name: str) -> None:
    pull = gradient(make_loss(name, smoothing=0.0), LOGITS, LABELS)
    assert bool((pull.gather(1, LABELS[:, None]) < 0).all())


@each
@each_balance
def test_the_order_of_images_does_not_matter(name: str, balance: dict[str, Any]) -> None:
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    loss = make_loss(name, **balance)
    torch.testing.assert_close(loss(LOGITS[order], LABELS[order]), loss(LOGITS, LABELS))


@each
def test_the_correct_answer_costs_less_than_a_wrong_one(name: str) -> None:
    correct = torch.nn.functional.one_hot(LABELS, 4) * 6.0
    loss = make_loss(name)
    assert float(loss(correct, LABELS)) < float(loss(correct.roll(1, dims=1), LABELS))
    assert (loss.evaluate(correct, LABELS) < loss.evaluate(correct.roll(1, dims=1), LABELS)).all()


@each
@each_balance
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_one_hot_targets_give_the_loss_and_the_gradient_of_their_labels(
    name: str, balance: dict[str, Any], smoothing: float
) -> None:
    loss = make_loss(name, smoothing, **balance)
    torch.testing.assert_close(loss(LOGITS, ONE_HOT), loss(LOGITS, LABELS))
    torch.testing.assert_close(gradient(loss, LOGITS, ONE_HOT), gradient(loss, LOGITS, LABELS))


@each
@each_balance
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_soft_target_gives_the_weighted_mean_of_the_losses_of_its_labels(
    name: str, balance: dict[str, Any], smoothing: float
) -> None:
    loss = make_loss(name, smoothing, **balance)
    weight = torch.tensor(balance.get("class_weights", [1.0] * 4))
    each_label = torch.tensor(
        [[float(loss(logits[None], torch.tensor([label]))) for label in range(4)] for logits in LOGITS]
    )
    expected = (SOFT * weight * each_label).sum() / (SOFT * weight).sum()
    torch.testing.assert_close(loss(LOGITS, SOFT), expected)


@each
@each_balance
def test_soft_targets_are_descended_like_labels(name: str, balance: dict[str, Any]) -> None:
    loss = make_loss(name, **balance)
    found = gradient(loss, LOGITS, SOFT)
    assert bool(found.isfinite().all())
    assert float(loss(LOGITS - 0.1 * found, SOFT)) < float(loss(LOGITS, SOFT))


@each
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("labels", [LABELS[:4] * 0 + 1, ONE_HOT[[1, 1]]], ids=["labels", "soft"])
def test_a_batch_without_weight_costs_nothing_and_teaches_nothing(name: str, smoothing: float, labels: Tensor) -> None:
    loss = make_loss(name, smoothing, class_weights=[1.0, 0.0, 2.0, 4.0])
    logits = LOGITS[: len(labels)]
    assert float(loss(logits, labels)) == 0.0
    assert not gradient(loss, logits, labels).any()


@each
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_weight_of_0_is_the_limit_of_small_ones(name: str, smoothing: float) -> None:
    zero, small = (make_loss(name, smoothing, class_weights=[1.0, one, 2.0, 4.0]) for one in (0.0, 1e-6))
    torch.testing.assert_close(zero(LOGITS, LABELS), small(LOGITS, LABELS))
    torch.testing.assert_close(gradient(zero, LOGITS, LABELS), gradient(small, LOGITS, LABELS))


@each
@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (
            SOFT[:, :3],
            r"labels are torch.float32 \(12, 3\) for logits \(12, 4\); allowed are class indices, int64 \(12,\)",
        ),
        (ONE_HOT.long(), r"labels are torch.int64 \(12, 4\) for logits .* probabilities, float \(12, 4\)"),
        (
            torch.cat([SOFT[:3], 2 * SOFT[3:]]),
            r"image 3 .* not a distribution .* sum 2; it must be >= 0 and sum to 1",
        ),
        (SOFT + torch.tensor([1.0, -1.0, 0.0, 0.0]), r"image 0 .*smallest value -0\."),
        (SOFT * torch.nan, "image 0 of the batch is not a distribution"),
    ],
    ids=["shape", "type", "sum", "negative", "nan"],
)
def test_targets_that_are_not_probabilities_are_refused(name: str, targets: Tensor, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make_loss(name)(LOGITS, targets)


@each
@each_balance
def test_it_runs_in_half_precision(name: str, balance: dict[str, Any]) -> None:
    loss = make_loss(name, **balance)
    with torch.autocast("cpu", torch.bfloat16):
        value, of_soft = loss(LOGITS, LABELS), loss(LOGITS, SOFT)
    torch.testing.assert_close(value, loss(LOGITS, LABELS), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(of_soft, loss(LOGITS, SOFT), rtol=1e-2, atol=1e-2)


@each
@each_balance
def test_it_adds_nothing_to_a_checkpoint(name: str, balance: dict[str, Any]) -> None:
    loss = make_loss(name, **balance)
    assert loss.state_dict() == {}
    assert list(loss.parameters()) == []
