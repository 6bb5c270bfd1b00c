"""Whatever a file holds, it is a prediction or an error, and the others are predicted."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.broken_images import mutants, other_broken_files
from tests.helpers.images import jpeg_bytes
from tests.helpers.onnx_models import make_onnx

from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import Classifier
from classifier_training.types import Preprocessing


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    card = DeploymentCard(("a", "b", "c"), Preprocessing(image_size=16, max_image_pixels=10**6))
    return Classifier(make_onnx(tmp_path / "model.onnx", metadata=card.to_metadata()), num_threads=2)


def test_mutated_jpegs_are_predicted_or_have_an_error(classifier: Classifier) -> None:
    outcomes = [one for batch in classifier.outcomes(mutants(3_000), 16) for one in batch]

    assert [one.name for one in outcomes] == [f"images[{number}]" for number in range(3_000)]
    for one in outcomes:
        assert (one.prediction is None) != (one.error is None)
    num_bad = sum(one.prediction is None for one in outcomes)
    assert 300 < num_bad < 2_900


def test_every_broken_kind_has_an_error_of_one_line(classifier: Classifier) -> None:
    broken = other_broken_files()

    outcomes = [one for batch in classifier.outcomes([jpeg_bytes(), *broken.values()], 2) for one in batch]

    assert outcomes[0].error is None
    for name, one in zip(broken, outcomes[1:], strict=True):
        assert one.error is not None, name
        assert one.error.startswith("cannot read images["), name
        assert one.error.isprintable(), name
