from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.unit.data.splits.test_make import make_index

from classifier_training.data.splits.folds import Fold, check_folds, deal_folds
from classifier_training.data.splits.make import Splits, make_splits
from classifier_training.errors import DataError


def of_fold(path: Path, fold: Fold, groups: list[str | None] | None = None) -> Splits:
    return make_splits(make_index(path, groups), "/p", val_fraction=0.2, test_fraction=0.1, seed=0, fold=fold)


@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_single_photos_are_spread_evenly_over_classes_and_folds(count: int) -> None:
    random = np.random.default_rng(count)
    labels = random.choice(6, 1000, p=[0.4, 0.3, 0.15, 0.1, 0.03, 0.02])
    folds = deal_folds(labels, random.random(1000), count)

    of_class = np.stack([np.bincount(folds[labels == label], minlength=count) for label in range(6)])
    assert (of_class.max(axis=1) - of_class.min(axis=1) <= 1).all()
    totals = of_class.sum(axis=0)
    assert totals.max() - totals.min() <= 1


def test_sets_stay_together_and_classes_stay_even() -> None:
    random = np.random.default_rng(1)
    sets = random.integers(0, 150, 1000)
    labels, positions = sets % 4, random.random(150)[sets]
    folds = deal_folds(labels, positions, 5)

    assert all(len(set(folds[sets == one])) == 1 for one in range(150) if (sets == one).any())
    of_class = np.stack([np.bincount(folds[labels == label], minlength=5) for label in range(4)])
    assert (of_class.max(axis=1) <= 1.25 * of_class.mean(axis=1)).all()


def test_the_folds_of_photos_do_not_depend_on_their_order() -> None:
    random = np.random.default_rng(2)
    labels, positions, order = random.integers(0, 3, 200), random.random(200), random.permutation(200)
    assert (deal_folds(labels, positions, 4)[order] == deal_folds(labels[order], positions[order], 4)).all()


def test_every_photo_is_tested_on_once_and_never_trained_on_in_that_run(tmp_path: Path) -> None:
    groups: list[str | None] = [f"patient {number // 3}" for number in range(60)]
    runs = [of_fold(tmp_path / f"{number}.arrow", Fold(number, 3), groups).rows for number in (1, 2, 3)]

    assert sorted(np.concatenate([rows["test"] for rows in runs]).tolist()) == list(range(60))
    for rows in runs:
        assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(60))
        of_group = [{groups[row] for row in rows[split].tolist()} for split in ("train", "val", "test")]
        assert not of_group[0] & of_group[1]
        assert not of_group[0] & of_group[2]
        assert len(rows["val"])


def test_the_final_model_trains_on_all_and_says_that_it_validates_on_some_of_them(tmp_path: Path) -> None:
    splits = of_fold(tmp_path / "i.arrow", Fold("all", 3))

    assert sorted(splits.rows["train"].tolist()) == list(range(60))
    assert 0 < len(splits.rows["val"]) < 30
    assert "test" not in splits.rows
    assert any("val image(s) are also in train" in warning for warning in splits.warnings)
    assert not any("listed again" in warning for warning in splits.warnings)
    assert any("the final model trains on all" in note for note in splits.notes)


def test_classes_that_are_smaller_than_the_folds_are_named_at_once() -> None:
    labels = np.array([0] * 10 + [1] * 4 + [2] * 9)
    positions = np.concatenate([np.linspace(0, 0.4, 14), np.repeat([0.5, 0.6, 0.7], 3)])
    with pytest.raises(
        DataError, match=r"data\.folds=5 needs 5 photos .* class 'b' has 4, 'c' has 3; lower data\.folds"
    ):
        check_folds(labels, positions, ["a", "b", "c"], 5)
