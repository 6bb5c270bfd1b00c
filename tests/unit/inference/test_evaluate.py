from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.helpers.images import make_image, make_pixels
from tests.helpers.onnx_models import make_onnx

from classifier_training.errors import BadImageError, DataError
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import preprocess
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import Classifier, softmax
from classifier_training.inference.evaluate import evaluate_samples
from classifier_training.metrics.scores import confusion_and_top5, scores_from_confusion
from classifier_training.types import Preprocessing

CLASSES = tuple("abcdefg")
PREPROCESSING = Preprocessing(image_size=16)


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    metadata = DeploymentCard(CLASSES, PREPROCESSING).to_metadata()
    return Classifier(make_onnx(tmp_path / "model.onnx", 7, metadata=metadata), num_threads=1)


@pytest.fixture
def samples(tmp_path: Path) -> list[tuple[str, int]]:
    return [(str(make_image(tmp_path / f"{seed}.png", make_pixels(20, 20, seed))), seed % 7) for seed in range(23)]


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_the_scores_are_those_of_the_logits(
    classifier: Classifier, samples: list[tuple[str, int]], batch_size: int
) -> None:
    logits = classifier.logits(np.stack([preprocess(decode_image(path), PREPROCESSING) for path, _ in samples]))
    expected = scores_from_confusion(*confusion_and_top5(logits, np.array([label for _, label in samples])))
    progress: list[int] = []

    scores, predictions = evaluate_samples(classifier, samples, batch_size, progress.append)

    assert scores.to_dict(CLASSES) == expected.to_dict(CLASSES)
    np.testing.assert_array_equal(predictions.labels, [label for _, label in samples])
    np.testing.assert_array_equal(predictions.predicted, logits.argmax(axis=1))
    assert predictions.probabilities is not None
    np.testing.assert_allclose(predictions.probabilities, softmax(logits), rtol=1e-5)
    assert sum(progress) == 23
    assert max(progress) <= batch_size


def test_a_bad_image_stops_or_is_left_out_and_told(classifier: Classifier, samples: list[tuple[str, int]]) -> None:
    without, said = evaluate_samples(classifier, samples[:4] + samples[5:], 4)
    Path(samples[4][0]).write_bytes(b"no image")
    skipped: list[str] = []

    with pytest.raises(BadImageError, match=r"4\.png"):
        evaluate_samples(classifier, samples, 4)
    scores, predictions = evaluate_samples(
        classifier, samples, 4, on_bad_image="skip", on_skip=lambda path, _error: skipped.append(path)
    )

    assert scores.to_dict(CLASSES) == without.to_dict(CLASSES)
    np.testing.assert_array_equal(predictions.losses, said.losses)
    assert skipped == [samples[4][0]]


def test_nothing_to_score(classifier: Classifier) -> None:
    with pytest.raises(DataError, match="no image to score"):
        evaluate_samples(classifier, [])
