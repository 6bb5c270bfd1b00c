from __future__ import annotations

import numpy as np
import pytest

from classifier_training.metrics.confusion import Confusion, as_confusion


def make_pairs(num_classes: int, num_images: int = 200) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(num_classes)
    return generator.integers(0, num_classes, num_images), generator.integers(0, num_classes, num_images)


@pytest.mark.parametrize("num_classes", [1, 2, 7, 60])
def test_the_cells_are_those_of_the_whole_matrix(num_classes: int) -> None:
    labels, predicted = make_pairs(num_classes)
    whole = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(whole, (labels, predicted), 1)

    cells = Confusion.from_pairs(labels, predicted, num_classes)

    np.testing.assert_array_equal(cells.matrix(), whole)
    np.testing.assert_array_equal(Confusion.from_matrix(whole).counts, cells.counts)
    np.testing.assert_array_equal(cells.hits, whole.diagonal())
    np.testing.assert_array_equal(cells.support, whole.sum(axis=1))
    np.testing.assert_array_equal(cells.num_predicted, whole.sum(axis=0))
    np.testing.assert_array_equal(cells.errors().matrix(), whole - np.diag(whole.diagonal()))
    assert cells.num_images == len(labels)


def test_a_part_has_the_order_that_it_is_asked_for() -> None:
    whole = np.arange(25).reshape(5, 5)
    np.testing.assert_array_equal(as_confusion(whole).part([4, 0, 2]), whole[np.ix_([4, 0, 2], [4, 0, 2])])


def test_counts_of_several_parts_add_up() -> None:
    labels, predicted = make_pairs(5)
    parts = [Confusion.from_pairs(labels[rows], predicted[rows], 5) for rows in np.split(np.arange(200), [3, 90])]
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "predicted", "counts"))
    found_labels, found_predicted, counts = columns

    merged = Confusion.from_pairs(found_labels, found_predicted, 5, counts)

    np.testing.assert_array_equal(merged.matrix(), Confusion.from_pairs(labels, predicted, 5).matrix())


def test_without_images_there_are_no_cells() -> None:
    empty = Confusion.from_pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), 3)
    assert (empty.num_images, len(empty.counts), empty.matrix().tolist()) == (0, 0, [[0, 0, 0]] * 3)
