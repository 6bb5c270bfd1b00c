from __future__ import annotations

import numpy as np
import pytest

from classifier_training.config.schema import Config
from classifier_training.training.unknown import has_cached_features, reference_images


def test_all_images_are_taken_where_they_are_few() -> None:
    np.testing.assert_array_equal(reference_images(np.array([1, 0, 1, 2]), 1000), [0, 1, 2, 3])
    assert len(reference_images(np.zeros(0, np.int64), 10)) == 0


@pytest.mark.parametrize("num_classes", [2, 7, 40])
def test_each_class_gives_an_equal_share_from_all_over_its_images(num_classes: int) -> None:
    labels = np.random.default_rng(0).integers(0, num_classes, 4000)
    labels[:3] = num_classes  # a class of few images gives all of them

    found = reference_images(labels, 200)

    counts = np.bincount(labels[found])
    assert (counts[:num_classes] == 200 // (num_classes + 1)).all()
    assert counts[num_classes] == 3
    assert (np.diff(found) > 0).all()
    of_first = np.flatnonzero(labels == 0)
    assert {of_first[0], of_first[-1]} <= set(found.tolist())


def test_of_more_classes_than_images_some_have_one() -> None:
    assert len(reference_images(np.arange(500), 100)) == 100


@pytest.mark.parametrize(
    ("recipe", "cache", "expected"),
    [("probe", "auto", True), ("probe", "disk", True), ("probe", "none", False), ("finetune", "disk", False)],
)
def test_only_a_probe_with_a_cache_on_disk_has_the_features_already(recipe: str, cache: str, expected: bool) -> None:
    config = Config.model_validate({"recipe": {"name": recipe}, "data": {"cache": cache}})

    assert has_cached_features(config) == expected
