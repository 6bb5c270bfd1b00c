from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.images import jpeg_bytes, make_pixels
from tests.helpers.onnx_models import make_onnx
from tests.helpers.serving import CLASSES, PIXELS, make_served

from classifier_training.errors import CheckpointError, VerificationError
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import Classifier
from classifier_training.inference.self_test import check_self_test, read_self_test


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_served(tmp_path / "model.onnx")


def with_changed(model: Path, **changes: Any) -> Classifier:
    """The model with another picture or answer in its self-test."""
    card = Classifier(model).card
    assert card.self_test is not None
    (image,) = card.self_test["images"]
    changed = {**card.self_test, "images": [{**image, **changes}]}
    metadata = DeploymentCard(CLASSES, PIXELS, self_test=changed).to_metadata()
    return Classifier(make_onnx(model, metadata=metadata))


def test_a_file_gives_its_recorded_answers(model: Path) -> None:
    assert check_self_test(Classifier(model)) == 1


def test_a_file_without_pictures_has_to_give_numbers(tmp_path: Path) -> None:
    metadata = DeploymentCard(CLASSES, PIXELS).to_metadata()

    assert check_self_test(Classifier(make_onnx(tmp_path / "model.onnx", metadata=metadata))) == 0


@pytest.mark.parametrize(
    ("preprocessing", "is_noticed"),
    [({}, False), ({"interpolation": "nearest"}, True), ({"mean": [0.0, 0.0, 0.0]}, True)],
    ids=["as it was", "another filter", "without normalisation"],
)
def test_other_preprocessing_is_noticed(model: Path, preprocessing: dict[str, Any], is_noticed: bool) -> None:
    metadata = Classifier(model).metadata
    metadata["preprocessing"] = json.dumps({**json.loads(metadata["preprocessing"]), **preprocessing})
    changed = Classifier(make_onnx(model, metadata=metadata))

    if is_noticed:
        with pytest.raises(VerificationError, match=r"picture 1 of 1: a probability differs by|it answers"):
            check_self_test(changed)
    else:
        assert check_self_test(changed) == 1


def test_other_classes_are_noticed(model: Path) -> None:
    metadata = Classifier(model).metadata
    metadata["class_names"] = json.dumps([*CLASSES[1:], CLASSES[0]])

    with pytest.raises(VerificationError, match=r"it answers '\w+', recorded is '\w+'; export the run again"):
        check_self_test(Classifier(make_onnx(model, metadata=metadata)))


def test_another_picture_is_noticed(model: Path) -> None:
    other = base64.b64encode(jpeg_bytes(make_pixels(seed=9))).decode()
    with pytest.raises(VerificationError, match=r"model.onnx fails its self-test on picture 1 of 1: "):
        check_self_test(with_changed(model, jpeg=other))

    cut = base64.b64encode(jpeg_bytes()[:100]).decode()
    with pytest.raises(VerificationError, match="cannot read"):
        check_self_test(with_changed(model, jpeg=cut))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "must have 1 to 16 images"),
        ({"images": [{}]}, "picture 1 of self_test in the metadata has no picture"),
        ({"images": [{"jpeg": "%%"}]}, "has no picture"),
        ({"images": [{"jpeg": "aaaa", "label": "grey"}]}, "has the label 'grey', which is not a class"),
        ({"images": [{"jpeg": "aaaa", "label": "red", "probabilities": [1]}]}, "must have 3 probabilities"),
        ({"images": [{"jpeg": "aaaa", "label": "red", "probabilities": [2, 0, 0]}]}, "must have 3 probabilities"),
        ({"images": [{}], "tolerance": -1}, "the tolerance of self_test in the metadata is -1"),
    ],
)
def test_impossible_entries_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=f"model.onnx: .*{message}"):
        read_self_test(values, CLASSES, "model.onnx")


def test_logits_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    metadata = DeploymentCard(CLASSES, PIXELS).to_metadata()
    metadata["preprocessing"] = metadata["preprocessing"].replace("0.225", "2e-39")
    classifier = Classifier(make_onnx(tmp_path / "model.onnx", metadata=metadata))

    with pytest.raises(CheckpointError, match="not finite numbers"):
        check_self_test(classifier)
