from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, top_k_accuracy_score
from tests.helpers.training import IMAGE_SIZE, LIGHTNING_NOTICES, make_loader, make_model, make_trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from classifier_training.data.loading.normalize import normalize_batch
from classifier_training.errors import DataError
from classifier_training.evaluation.checkpoint import _MeanOverViews, score_model
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.precision import Precision
from classifier_training.types import ClassificationBatch, Preprocessing

pytestmark = LIGHTNING_NOTICES
CPU = torch.device("cpu")


@pytest.mark.parametrize("num_classes", [4, 7])
def test_scores_are_those_of_scikit_learn(num_classes: int) -> None:
    model = make_model(classes=num_classes).eval()
    loader = make_loader(3, num_classes=num_classes)
    scores, predictions = score_model(model, loader, num_classes, device=CPU)
    with torch.inference_mode():
        logits = torch.cat([model(batch["images"]) for batch in loader])
    labels = torch.cat([batch["labels"] for batch in loader])
    predicted = logits.argmax(dim=1)
    assert scores.num_images == 24
    assert scores.top1 == accuracy_score(labels, predicted)
    np.testing.assert_array_equal(scores.confusion, confusion_matrix(labels, predicted, labels=range(num_classes)))
    assert predictions.probabilities is not None
    np.testing.assert_array_equal(predictions.labels, labels)
    np.testing.assert_array_equal(predictions.predicted, predicted)
    np.testing.assert_allclose(predictions.probabilities, logits.softmax(dim=1), rtol=1e-5)
    np.testing.assert_allclose(predictions.losses, cross_entropy(logits, labels, reduction="none"), rtol=1e-4)
    if num_classes > 5:
        assert scores.top5 == top_k_accuracy_score(labels, logits, k=5, labels=range(num_classes))


def make_rounding_model() -> BaseClassificationModel:
    """Its logits are so close to each other that another precision predicts other classes."""
    model = make_model(classes=40)
    torch.manual_seed(0)
    model.backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * IMAGE_SIZE**2, 40))
    return model.eval()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.filterwarnings("ignore:.*fp16 is not supported on CPU")
def test_scores_are_those_of_the_trainers_validation(tmp_path: Path, precision: Precision) -> None:
    model = make_rounding_model()
    loader = make_loader(20, batch_size=16, num_classes=40)
    trainer = make_trainer(tmp_path, precision=precision)
    (logged,) = trainer.validate(model, loader, verbose=False)
    validated = model.scores
    assert validated is not None
    scores, _ = score_model(model.eval(), loader, 40, device=CPU, precision=precision)
    np.testing.assert_array_equal(scores.confusion, validated.confusion)
    assert scores.top5 == validated.top5
    assert logged["val/top1"] == pytest.approx(scores.top1)


def test_precision_is_taken_into_account() -> None:
    model = make_rounding_model()
    loader = make_loader(20, batch_size=16, num_classes=40)
    precisions: list[Precision] = ["32-true", "bf16-mixed"]
    exact, rounded = (score_model(model, loader, 40, device=CPU, precision=precision)[0] for precision in precisions)
    assert (exact.confusion != rounded.confusion).any()


def test_progress_counts_images() -> None:
    seen: list[int] = []
    score_model(make_model().eval(), make_loader(3, batch_size=5), 4, device=CPU, progress=seen.append)
    assert seen == [5, 10, 15]


def test_images_that_come_as_bytes_are_normalised() -> None:
    model, preprocessing = make_model().eval(), Preprocessing(image_size=IMAGE_SIZE)
    shape, generator = (8, 3, IMAGE_SIZE, IMAGE_SIZE), torch.Generator().manual_seed(0)
    numbers = torch.arange(8)
    raw = [
        ClassificationBatch(
            images=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
            labels=numbers % 4,
            indices=numbers,
        )
        for _ in range(5)
    ]

    scores, _ = score_model(model, raw, 4, device=CPU, preprocessing=preprocessing)

    normalised = [normalize_batch(batch, preprocessing) for batch in raw]
    expected, _ = score_model(model, normalised, 4, device=CPU, preprocessing=preprocessing)
    np.testing.assert_array_equal(scores.confusion, expected.confusion)


def test_scoring_leaves_the_weights_trainable() -> None:
    model = make_model().eval()
    score_model(model, make_loader(1), 4, device=CPU)
    batch = next(iter(make_loader(1)))
    gradients = torch.autograd.grad(model.train().training_step(batch, 0), list(model.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(DataError, match="no image to score"):
        score_model(make_model().eval(), [], 4, device=CPU)


class LittleMemory(nn.Module):
    """Answers as another model, at most three images at once."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        answer: Tensor = self.model(images)
        return answer


HALVED = "out of memory while scoring 8 images at once: going on with 2 at once, which changes no score"


@pytest.mark.parametrize("num_views", [1, 2])
def test_where_memory_runs_out_batches_are_halved_and_scores_stay(num_views: int) -> None:
    model = make_model().eval()
    batches = list(make_loader(3))
    for batch in batches:  # all first views come first
        batch["images"] = torch.cat([batch["images"], batch["images"].flip(3)][:num_views])

    def of(one: nn.Module) -> nn.Module:
        return one if num_views == 1 else _MeanOverViews(one, num_views)

    scores, predictions = score_model(of(model), batches, 4, device=CPU)
    with pytest.warns(UserWarning, match=HALVED) as caught:
        halved, others = score_model(of(LittleMemory(model)), batches, 4, device=CPU)

    assert len(caught) == 1
    np.testing.assert_array_equal(halved.confusion, scores.confusion)
    assert predictions.probabilities is not None
    assert others.probabilities is not None
    np.testing.assert_allclose(others.probabilities, predictions.probabilities, rtol=1e-5)


def test_a_validation_halves_its_batches_too(tmp_path: Path) -> None:
    model = make_model()
    trainer = make_trainer(tmp_path)
    trainer.validate(model, make_loader(3), verbose=False)
    whole = model.scores
    model.backbone = LittleMemory(model.backbone)
    with pytest.warns(UserWarning, match=HALVED):
        trainer.validate(model, make_loader(3), verbose=False)
    assert whole is not None
    assert model.scores is not None
    np.testing.assert_array_equal(model.scores.confusion, whole.confusion)
