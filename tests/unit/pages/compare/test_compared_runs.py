from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.run_folders import RunMaker, edit_json

from classifier_training.pages.compare.compared_runs import (
    ComparedRuns,
    cannot_be_compared,
    compared_runs,
    conclusion,
    p_value,
    pair,
)
from classifier_training.pages.read.run_data import RunData, read_run
from classifier_training.pages.read.scored_data import PredictionColumns, ScoredData

GOOD = RunMaker(3, seed=1, skill=4.0)
BAD = RunMaker(3, seed=2, skill=0.5)


def read(folder: Path, **makers: RunMaker) -> list[RunData]:
    return [read_run(maker.make(folder / name).root, with_predictions=True) for name, maker in makers.items()]


def conclusions(compared: ComparedRuns) -> list[str]:
    assert compared.best is not None
    return [conclusion(compared.best, run).replace("\N{NO-BREAK SPACE}", " ") for run in compared.others]


def test_the_better_run_is_named_and_why(tmp_path: Path) -> None:
    compared = compared_runs(read(tmp_path, bad=BAD, good=GOOD))

    assert [run.label for run in compared.runs] == ["bad", "good"]
    assert compared.best is compared.runs[1]
    (sentence,) = conclusions(compared)
    assert sentence.startswith("“good” is better than “bad”: top-1 ")
    assert "McNemar, p < 0.001" in sentence
    assert cannot_be_compared(compared) == []


def test_a_small_difference_may_be_chance(tmp_path: Path) -> None:
    (sentence,) = conclusions(compared_runs(read(tmp_path, one=GOOD, other=replace(GOOD, seed=3))))

    assert "do not differ significantly" in sentence
    assert "may be chance" in sentence


def test_photos_that_were_replaced_between_two_evaluations_are_not_paired(tmp_path: Path) -> None:
    one, other = (data.scored for data in read(tmp_path, good=GOOD, bad=BAD))
    assert one is not None
    assert other is not None

    replaced = pair(replace(one, content="a" * 32), replace(other, content="b" * 32), are_same_photos=False)
    same = pair(replace(one, content="a" * 32), replace(other, content="a" * 32), are_same_photos=False)

    assert (replaced.were_replaced, replaced.are_same, replaced.comparison) == (True, False, None)
    assert (same.were_replaced, same.are_same) == (False, True)


def test_runs_of_other_photos_are_reported(tmp_path: Path) -> None:
    others = [f"/elsewhere/{number}.jpg" for number in range(60)]

    compared = compared_runs(read(tmp_path, good=GOOD, bad=replace(BAD, files=others)))

    assert "it is not known which photos both were scored on" in conclusions(compared)[0]
    assert (
        "photos at different paths, so it is not known whether they have any in common"
        in cannot_be_compared(compared)[0]
    )


def test_photos_in_common_are_counted(tmp_path: Path) -> None:
    others = [f"/elsewhere/{number}.jpg" for number in range(20)]

    compared = compared_runs(read(tmp_path, good=GOOD, bad=replace(BAD, files=others)))

    assert "40 of them in common" in cannot_be_compared(compared)[0]


def test_other_classes_are_named(tmp_path: Path) -> None:
    compared = compared_runs(read(tmp_path, good=GOOD, bad=RunMaker(("class 0", "class 1", "<b>new</b>"), skill=0.5)))

    assert "“good” and “bad” have different classes: “class 2” only in “good”; “<b>new</b>” only in “bad”." in (
        cannot_be_compared(compared)
    )


def test_a_run_in_training_is_compared_by_its_validation_scores(tmp_path: Path) -> None:
    compared = compared_runs(read(tmp_path, good=GOOD, bad=replace(BAD, is_finished=False, num_epochs=2)))

    sentences = [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in cannot_be_compared(compared)]
    assert "“bad” is not finished (2 of 3 epochs): its scores are on the validation photos so far." in sentences
    assert any("60 test photos" in sentence and "60 validation photos" in sentence for sentence in sentences)


def test_a_run_without_scores_can_be_compared(tmp_path: Path) -> None:
    good, bad = read(tmp_path, good=GOOD, bad=BAD)

    compared = compared_runs([good, replace(bad, final=None, validation=None)])

    assert conclusions(compared) == ["“bad” has no scores yet."]
    assert any("“bad” has no scores" in sentence for sentence in cannot_be_compared(compared))
    assert compared_runs([replace(bad, final=None, validation=None)] * 2).best is None


def test_photos_that_were_trained_on_are_reported(tmp_path: Path) -> None:
    good = GOOD.make(tmp_path / "good")
    edit_json(good.scored("test").scores, num_trained_on=7)
    data = [read_run(good.root), *read(tmp_path, bad=BAD)]

    assert "was trained on 7" in cannot_be_compared(compared_runs(data))[0].replace("\N{NO-BREAK SPACE}", " ")


def test_other_devices_and_monitors_are_reported(tmp_path: Path) -> None:
    good, bad = GOOD.make(tmp_path / "good"), BAD.make(tmp_path / "bad")
    latency = {"device": "a GPU", "batch_size": 1, "median_ms": 1.5, "p95_ms": 2.0, "repeats": 30}
    edit_json(bad.model_info, latency=latency)
    edit_json(bad.environment, data_fingerprint="other")

    sentences = cannot_be_compared(
        compared_runs([read_run(good.root), replace(read_run(bad.root), monitor="val/loss")])
    )

    assert any("different scores: val/loss and val/top1" in sentence for sentence in sentences)
    assert any("different devices: a GPU and cpu" in sentence for sentence in sentences)
    assert any("trained on different photos" in sentence for sentence in sentences)


def test_the_same_photos_on_another_machine_are_paired_by_their_fingerprint(tmp_path: Path) -> None:
    elsewhere = [f"/another/place/test/{number:05d}.jpg" for number in range(60)]

    same = compared_runs(read(tmp_path, good=GOOD, bad=replace(BAD, files=elsewhere)))

    assert same.runs[1].pairing is not None
    assert same.runs[1].pairing.are_same
    edit_json(tmp_path / "bad" / "environment.json", data_fingerprint="other")
    data = [read_run(tmp_path / name, with_predictions=True) for name in ("good", "bad")]
    other = compared_runs(data).runs[1].pairing
    assert other is not None
    assert other.comparison is None


def test_runs_of_one_name_get_different_labels(tmp_path: Path) -> None:
    data = [read_run(GOOD.make(tmp_path / parent / "run").root) for parent in ("a", "b")]

    assert [run.label for run in compared_runs(data).runs] == ["a/run", "b/run"]
    assert [run.label for run in compared_runs([data[0]] * 2).runs] == ["a/run (1)", "a/run (2)"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "p < 0.001"), (0.0456, "p = 0.046"), (0.5, "p = 0.50"), (1.0, "p = 1.00")]
)
def test_p_values_are_written_with_what_matters(value: float, text: str) -> None:
    assert p_value(value).replace("\N{NO-BREAK SPACE}", " ") == text


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


def test_scores_of_another_test_time_augmentation_are_not_compared(tmp_path: Path) -> None:
    data = read(tmp_path, good=GOOD, bad=BAD)
    edit_json(tmp_path / "good" / "test" / "scores.json", tta="flip")
    data[0] = read_run(tmp_path / "good", with_predictions=True)

    compared = compared_runs(data)

    (sentence,) = conclusions(compared)
    assert sentence.endswith(
        "but they were scored with different test-time augmentation, so the difference may come from that."
    )
    assert cannot_be_compared(compared) == [
        "The scores differ in their test-time augmentation: “good” with flip and “bad” without."
    ]
