"""Which training images calibrate a quantised file."""

from __future__ import annotations

from collections import Counter

from classifier_training.exporters.calibration_images import spread_over_classes


def test_as_many_of_each_class_as_there_are() -> None:
    labels = ["a"] * 100 + ["b"] * 3 + ["c"] * 50

    chosen = spread_over_classes(labels, 23)

    assert Counter(labels[position] for position in chosen) == {"a": 10, "b": 3, "c": 10}
    assert chosen == sorted(set(chosen))
    assert chosen == spread_over_classes(labels, 23)
    assert max(chosen[:10]) > 50  # not the first ones of a class


def test_more_are_asked_for_than_there_are() -> None:
    assert spread_over_classes(["b", "a"], 9) == [0, 1]


def test_more_classes_than_images() -> None:
    labels = [f"{number:03}" for number in range(100)]

    chosen = spread_over_classes(labels, 10)

    assert len(set(chosen)) == 10
    assert max(chosen) > 50
