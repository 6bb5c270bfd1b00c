"""The deployment card: what an exported file holds, in this version, in older and in newer ones."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from classifier_training.errors import CheckpointError
from classifier_training.inference.card import DeploymentCard
from classifier_training.types import Preprocessing

NAMES = ("", "00", "012", "1e3", "no", "null", "Über 猫", 'a "b"')
PREPROCESSING = Preprocessing(image_size=64, crop_pct=0.9, interpolation="bilinear", mean=(0.5, 0.4, 0.3))
CARD = DeploymentCard(("a", "b"), PREPROCESSING)
WHOLE = DeploymentCard(
    ("a", "b"),
    PREPROCESSING,
    temperature=1.5,
    self_test={"pixel": 3, "logits": [0.5, -1.0]},
)


@pytest.mark.parametrize("card", [DeploymentCard(NAMES, PREPROCESSING), CARD, WHOLE])
def test_a_card_is_read_as_it_was_written(card: DeploymentCard) -> None:
    assert DeploymentCard.from_metadata(card.to_metadata(), "model.onnx") == card


def test_what_a_card_does_not_have_is_not_in_the_file() -> None:
    assert list(CARD.to_metadata()) == ["class_names", "preprocessing", "card_version"]
    assert json.loads(CARD.to_metadata()["card_version"]) == "1.1"
    assert len(WHOLE.to_metadata()) == 5


def test_a_file_of_version_0_1_is_read_and_entries_of_its_owner_are_ignored() -> None:
    metadata = {"class_names": '["a", "b"]', "preprocessing": json.dumps(PREPROCESSING.to_dict()), "versions": "{}"}

    assert DeploymentCard.from_metadata(metadata, "model.onnx") == CARD
    assert DeploymentCard.from_metadata({**metadata, "temperature": "warm"}, "model.onnx") == CARD


def test_a_file_without_entries_has_no_card() -> None:
    assert DeploymentCard.from_metadata({"author": "me"}, "model.onnx") is None


def test_a_newer_minor_version_is_read_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    metadata = {**WHOLE.to_metadata(), "card_version": '"1.12"', "colour": "not JSON"}

    with caplog.at_level(logging.WARNING):
        assert DeploymentCard.from_metadata(metadata, "model.onnx") == WHOLE
    assert caplog.messages == ["model.onnx has a deployment card of version 1.12; its new entries are ignored"]


def test_a_newer_major_version_is_refused_in_one_line() -> None:
    metadata = {**CARD.to_metadata(), "card_version": '"2.0"', "class_names": '{"new": "form"}'}

    with pytest.raises(CheckpointError, match=r"^model\.onnx has a deployment card of version 2\.0, .* 1\.x: update"):
        DeploymentCard.from_metadata(metadata, "model.onnx")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("class_names", "[", "class_names in the metadata is not JSON"),
        ("class_names", "{}", "class_names in the metadata must be a list of texts"),
        ("class_names", "[]", "class_names in the metadata must be a list of texts"),
        ("class_names", '["a", "b", "a"]', "class_names in the metadata names the class 'a' twice"),
        ("class_names", "[0, 1]", "class_names in the metadata must be a list of texts"),
        ("preprocessing", "null", "has no preprocessing"),
        ("preprocessing", '{"image_size": 0}', "preprocessing.image_size is 0"),
        ("card_version", "1.0", "card_version in the metadata must be a text such as 1.0, not 1.0"),
        ("card_version", '"1"', "card_version in the metadata must be a text"),
        ("card_version", '"a.b"', "card_version in the metadata must be a text"),
        ("temperature", "0", "temperature in the metadata is 0, which is not possible"),
        ("temperature", "Infinity", "temperature in the metadata is inf"),
        ("temperature", "1e-40", "temperature in the metadata is 1e-40"),
        ("temperature", "1e39", "temperature in the metadata is 1e"),
        ("self_test", "[" * 100_000, "self_test in the metadata is not JSON"),
        ("temperature", "true", "temperature in the metadata is True"),
        ("self_test", '"yes"', "self_test in the metadata is 'yes'"),
    ],
)
def test_an_impossible_value_is_refused(name: str, value: str, message: str) -> None:
    metadata: dict[str, Any] = {**WHOLE.to_metadata(), name: value}

    with pytest.raises(CheckpointError, match=message) as caught:
        DeploymentCard.from_metadata(metadata, "model.onnx")
    assert "model.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_metadata_without_preprocessing_are_refused() -> None:
    with pytest.raises(CheckpointError, match="has no preprocessing"):
        DeploymentCard.from_metadata({"class_names": '["a"]'}, "model.onnx")
