from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from classifier_training.errors import CheckpointError
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.labels import labels_mapping, read_labels_mapping
from classifier_training.types import Preprocessing

NAMES = ("", "00", "012", "1e3", "no", "null", "Über 猫", 'a "b"')
PREPROCESSING = Preprocessing(image_size=64, crop_pct=0.9, interpolation="bilinear", mean=(0.5, 0.4, 0.3))


def test_the_content_of_the_mapping() -> None:
    mapping = labels_mapping(["00", "no"], PREPROCESSING)

    assert mapping == {
        "num_classes": 2,
        "class_to_idx": {"00": 0, "no": 1},
        "idx_to_class": {"0": "00", "1": "no"},
        "normalization": {"mean": [0.5, 0.4, 0.3], "std": [0.229, 0.224, 0.225]},
        "preprocessing": PREPROCESSING.to_dict(),
    }


def test_names_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "labels_mapping.json"
    path.write_text(json.dumps(labels_mapping(NAMES, PREPROCESSING)), encoding="utf-8")

    assert read_labels_mapping(path) == DeploymentCard(NAMES, PREPROCESSING)


def test_the_order_is_that_of_the_indices_not_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "labels_mapping.json"
    mapping = labels_mapping(["b", "a"], PREPROCESSING)
    path.write_text(json.dumps(mapping, sort_keys=True), encoding="utf-8")

    assert read_labels_mapping(path).classes == ("b", "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_to_idx": None}, "no class_to_idx"),
        ({"class_to_idx": {}}, "without gaps"),
        ({"class_to_idx": {"a": 0, "b": 2}}, "without gaps"),
        ({"class_to_idx": {"a": 0, "b": 0}}, "without gaps"),
        ({"class_to_idx": {"a": 0, "b": True}}, "without gaps"),
        ({"class_to_idx": {"a": [0], "b": 1}}, "without gaps"),
        ({"preprocessing": None}, "has no preprocessing"),
        ({"preprocessing": {**PREPROCESSING.to_dict(), "image_size": 0}}, "preprocessing.image_size is 0"),
        ({"preprocessing": {**PREPROCESSING.to_dict(), "image_size": "64"}}, "preprocessing.image_size is '64'"),
        ({"preprocessing": {**PREPROCESSING.to_dict(), "crop_pct": 1.5}}, "preprocessing.crop_pct is 1.5"),
        ({"preprocessing": {**PREPROCESSING.to_dict(), "crop_pct": None}}, "preprocessing.crop_pct is None"),
        ({"preprocessing": {**PREPROCESSING.to_dict(), "interpolation": "magic"}}, "interpolation is 'magic'"),
        ({"preprocessing": {**PREPROCESSING.to_dict(), "interpolation": ["a"]}}, "interpolation is"),
        ({"preprocessing": {**PREPROCESSING.to_dict(), "mean": [0.5]}}, "preprocessing.mean is"),
        ({"preprocessing": {**PREPROCESSING.to_dict(), "std": [0.0, 1.0, 1.0]}}, "preprocessing.std is"),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "labels_mapping.json"
    path.write_text(json.dumps({**labels_mapping(["a", "b"], PREPROCESSING), **change}), encoding="utf-8")

    with pytest.raises(CheckpointError, match=message) as caught:
        read_labels_mapping(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("{", "not a JSON file"), ("[1]", "not a labels mapping")])
def test_a_foreign_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels_mapping.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(CheckpointError, match=message):
        read_labels_mapping(path)
    with pytest.raises(CheckpointError, match="no such file"):
        read_labels_mapping(tmp_path / "nothing.json")
