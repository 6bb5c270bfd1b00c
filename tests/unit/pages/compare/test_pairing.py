from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.run_folders import RunMaker

from classifier_training.pages.compare.pairing import pair
from classifier_training.pages.read.run_data import read_run
from classifier_training.pages.read.scored_data import PredictionColumns, ScoredData


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> ScoredData:
    run = RunMaker(2, num_images=2).make(tmp_path_factory.mktemp("runs") / "run")
    final = read_run(run.root).final
    assert final is not None
    return final


def answered(scored: ScoredData, files: list[str], labels: list[int], predicted: list[int]) -> ScoredData:
    zeros = np.zeros(len(files))
    columns = PredictionColumns(tuple(files), np.array(labels), np.array(predicted), zeros, zeros)
    return replace(scored, predictions=columns)


def test_images_are_paired_by_their_names_in_any_order(scored: ScoredData) -> None:
    first = answered(scored, ["a", "b", "c", "d"], [0, 1, 0, 1], [0, 1, 0, 0])
    second = answered(scored, ["d", "c", "b", "a"], [1, 0, 1, 0], [1, 1, 0, 0])

    pairing = pair(first, second, are_same_photos=False)

    assert pairing.are_same
    assert pairing.comparison is not None
    assert (pairing.comparison.num_images, pairing.comparison.num_only_first) == (4, 2)  # b and c
    assert pairing.comparison.num_only_second == 1  # d
    assert pairing.comparison.p_value == 1.0  # 2 to 1 says nothing


def test_the_test_is_that_of_mcnemar(scored: ScoredData) -> None:
    files = [str(number) for number in range(10)]
    first = answered(scored, files, [0] * 10, [0] * 10)
    second = answered(scored, files, [0] * 10, [1] * 8 + [0] * 2)

    comparison = pair(first, second, are_same_photos=False).comparison

    assert comparison is not None
    assert comparison.p_value == pytest.approx(2 / 2**8)  # all eight on one side, or all on the other


def test_of_other_photos_those_in_common_are_compared(scored: ScoredData) -> None:
    first = answered(scored, ["a", "b"], [0, 0], [0, 0])
    second = answered(scored, ["b", "c"], [0, 0], [1, 0])

    pairing = pair(first, second, are_same_photos=False)

    assert not pairing.are_same
    assert pairing.comparison is not None
    assert pairing.comparison.num_images == 1


def test_a_name_that_occurs_twice_is_two_images(scored: ScoredData) -> None:
    first = answered(scored, ["a", "a"], [0, 0], [0, 0])
    second = answered(scored, ["a", "a"], [0, 0], [0, 1])

    comparison = pair(first, second, are_same_photos=False).comparison

    assert comparison is not None
    assert (comparison.num_images, comparison.num_only_first) == (2, 1)


def test_an_image_with_another_class_is_another_image(scored: ScoredData) -> None:
    first, second = (answered(scored, ["a"], [label], [0]) for label in (0, 1))

    assert pair(first, second, are_same_photos=False).comparison is None


def test_names_below_another_folder_count_only_for_the_same_photos(scored: ScoredData) -> None:
    first = answered(scored, ["/here/test/a/1.jpg", "/here/test/b/1.jpg"], [0, 1], [0, 1])
    second = answered(scored, ["/there/b/1.jpg", "/there/a/1.jpg"], [1, 0], [1, 1])

    assert pair(first, second, are_same_photos=False).comparison is None
    pairing = pair(first, second, are_same_photos=True)
    assert pairing.are_same
    assert pairing.comparison is not None
    assert pairing.comparison.num_only_first == 1


def test_without_predictions_nothing_is_known(scored: ScoredData) -> None:
    pairing = pair(scored, scored, are_same_photos=True)

    assert (pairing.are_same, pairing.comparison) == (False, None)


def test_passes_that_were_written_are_paired(tmp_path: Path) -> None:
    finals = [
        read_run(RunMaker(3, seed=seed).make(tmp_path / str(seed)).root, with_predictions=True).final for seed in (0, 1)
    ]
    assert finals[0] is not None
    assert finals[1] is not None

    pairing = pair(finals[0], finals[1], are_same_photos=False)

    right = [RunMaker(3, seed=seed).score("test").predictions.is_correct for seed in (0, 1)]
    assert pairing.are_same
    assert pairing.comparison is not None
    assert pairing.comparison.num_only_first == int((right[0] & ~right[1]).sum())
    assert pairing.comparison.num_only_second == int((right[1] & ~right[0]).sum())
