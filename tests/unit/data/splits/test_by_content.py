from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from classifier_training.data.splits.by_content import split_by_content, split_of_content, split_positions
from classifier_training.types import SPLITS, Split


def digest(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def make_splits(
    photos: Sequence[tuple[str, str]], *, val: float = 0.2, test: float = 0.1, seed: int = 0
) -> dict[str, Split]:
    """Split by name, of photos given as (name, label); the name up to a # is the content."""
    digests = np.array([list(bytes.fromhex(digest(int(name.split("#")[0])))) for name, _ in photos], np.uint8)
    labels = np.unique([label for _, label in photos], return_inverse=True)[1]
    splits = split_by_content(labels, split_positions(digests, seed), val_fraction=val, test_fraction=test)
    return {name: SPLITS[code] for (name, _), code in zip(photos, splits, strict=True)}


def photos(count: int, label: str = "a", first: int = 0) -> list[tuple[str, str]]:
    return [(str(number), label) for number in range(first, first + count)]


def test_the_same_seed_gives_the_same_split_and_the_order_does_not_matter() -> None:
    samples = photos(300)

    assert make_splits(samples) == make_splits(samples)
    assert make_splits(samples) == make_splits(samples[::-1])


def test_another_seed_gives_another_split() -> None:
    samples = photos(300)
    splits = [make_splits(samples, seed=seed) for seed in range(3)]

    for one, other in itertools.combinations(splits, 2):
        # two independent splits of 70/20/10 differ in 46 % of the photos
        assert 80 < sum(one[path] != other[path] for path in one) < 200


@pytest.mark.parametrize("seed", range(5))
def test_proportions_are_within_binomial_bounds_in_every_class(seed: int) -> None:
    samples = [sample for index, label in enumerate("abc") for sample in photos(2000, label, 10_000 * index)]
    splits = make_splits(samples, seed=seed)

    counts = Counter((label, splits[name]) for name, label in samples)
    shares: dict[Split, float] = {"train": 0.7, "val": 0.2, "test": 0.1}
    for label, (split, share) in itertools.product("abc", shares.items()):
        deviation = math.sqrt(2000 * share * (1 - share))
        assert abs(counts[label, split] - 2000 * share) < 4.5 * deviation


def test_adding_photos_moves_no_other() -> None:
    before = make_splits(photos(100))
    after = make_splits([*photos(100), *photos(400, first=100), *photos(50, "new", first=900)])

    assert {path: after[path] for path in before} == before


def test_removing_photos_moves_no_other() -> None:
    before = make_splits(photos(400))
    after = make_splits([photo for photo in photos(400) if int(photo[0]) % 3])

    assert after == {path: before[path] for path in after}


def test_a_larger_validation_share_only_takes_from_training() -> None:
    small, large = make_splits(photos(500), val=0.1), make_splits(photos(500), val=0.3)

    moves = Counter((small[path], large[path]) for path in small if small[path] != large[path])
    assert set(moves) == {("train", "val")}


def test_copies_share_a_split() -> None:
    splits = make_splits([(f"{number}#{copy}", "a") for number in range(200) for copy in range(3)])

    for number in range(200):
        assert len({splits[f"{number}#{copy}"] for copy in range(3)}) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(10))
def test_a_small_class_has_a_training_photo_and_keeps_the_others_where_they_are(count: int, seed: int) -> None:
    splits = make_splits(photos(count), val=0.45, test=0.45, seed=seed)
    alone = {
        path: split_of_content(digest(int(path)), val_fraction=0.45, test_fraction=0.45, seed=seed) for path in splits
    }

    moved = [path for path in splits if splits[path] != alone[path]]
    assert "train" in splits.values()
    assert len(moved) == (0 if "train" in alone.values() else 1)


def test_copies_of_the_one_training_photo_stay_together() -> None:
    splits = make_splits([("0#a", "a"), ("0#b", "a")], val=0.49, test=0.49)

    assert set(splits.values()) == {"train"}


def test_without_a_test_share_nothing_is_tested_on() -> None:
    assert set(make_splits(photos(50), val=0.5, test=0.0).values()) == {"train", "val"}


def test_a_photos_split_is_pinned_over_versions() -> None:
    found = [split_of_content(digest(n), val_fraction=0.25, test_fraction=0.25, seed=7) for n in range(8)]

    assert found == ["train", "test", "val", "test", "train", "train", "test", "val"]
