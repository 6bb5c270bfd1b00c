from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from classifier_training.metrics.unknown import KINDS
from classifier_training.models.unknown_choice import (
    MAX_CLASSES,
    MAX_GROUPS,
    Images,
    _best,
    _groups,
    choose_unknown_score,
    why_no_choice,
)


def clusters(num_classes: int, per_class: int, seed: int, num_features: int = 24) -> Images:
    """Images around a corner for each class, whose logits tell little of those of other classes."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class)
    centres = 6 * np.random.default_rng(99).standard_normal((num_classes, num_features))
    return Images((centres[labels] + generator.standard_normal((len(labels), num_features))).astype(np.float32), labels)


def test_the_score_that_tells_left_out_classes_apart_best_is_chosen() -> None:
    choice = choose_unknown_score(clusters(5, 30, 0), clusters(5, 10, 1), 5)

    means = {kind: values.mean() for kind, values in choice.aurocs.items()}
    assert list(means) == list(KINDS)
    assert means[choice.kind] >= max(means.values()) - 0.005
    assert means["knn"] > 0.95
    assert sorted(choice.classes) == [0, 1, 2, 3, 4]
    assert choice.num_images == (10,) * 5
    assert (choice.known.sum(), choice.left_out.sum()) == (5 * 40, 50)
    assert len(choice.edges) == len(choice.known) + 1


def test_the_choice_is_the_same_each_time_and_uses_no_random_number() -> None:
    before = torch.random.get_rng_state()
    first, second = (choose_unknown_score(clusters(3, 8, 0), clusters(3, 4, 1), 3) for _ in range(2))

    assert first.kind == second.kind
    for kind in KINDS:
        np.testing.assert_array_equal(first.aurocs[kind], second.aurocs[kind])
    assert torch.random.get_rng_state().equal(before)


def test_a_score_that_needs_less_is_preferred_where_it_is_as_good() -> None:
    means: Any = dict.fromkeys(KINDS, 0.8)

    assert _best(means) == "energy"
    assert _best({**means, "knn": 0.804}) == "energy"
    assert _best({**means, "knn": 0.81}) == "knn"
    assert _best({**means, "pca_residual": 0.808, "knn": 0.81}) == "pca_residual"


@pytest.mark.parametrize("num_classes", [3, 10, 100, 250, 1000])
def test_every_class_is_left_out_once_and_of_very_many_some(num_classes: int) -> None:
    labels = np.arange(num_classes)

    groups = list(_groups(labels, labels))

    found = [one for group in groups for one in group]
    assert len(found) == len(set(found)) == min(num_classes, MAX_CLASSES)
    assert 2 <= len(groups) <= MAX_GROUPS
    assert (found[-1], max(found)) in {(num_classes - 1, num_classes - 1), (found[-1], num_classes - 1)}
    assert all(len(group) < num_classes - 1 for group in groups)


@pytest.mark.parametrize(
    ("labels", "val_labels", "reason"),
    [
        ([0, 1, 2], [2, 1, 0], None),
        ([0, 1], [0, 1], "2 classes have training and validation images, and 3 are needed"),
        ([0, 1, 2], [2, 2], "one class has training and validation images"),
        ([0, 1, 2], [], "0 classes have"),
    ],
)
def test_two_classes_must_be_left_where_one_is_left_out(
    labels: list[int], val_labels: list[int], reason: str | None
) -> None:
    found = why_no_choice(np.array(labels, np.int64), np.array(val_labels, np.int64))

    assert (found is None) if reason is None else (found is not None and reason in found)
