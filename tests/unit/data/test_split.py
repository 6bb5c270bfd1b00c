from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter

import pytest

from classifier_training.data.sources.listing import Split
from classifier_training.data.split import split_by_content, split_of_content
from classifier_training.types import Sample


def digest(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def divide(samples: list[Sample], *, val: float = 0.2, test: float = 0.1, seed: int = 0) -> dict[str, Split]:
    """Split by path; the path is the content."""
    digests = [digest(int(sample.path.split("#")[0])) for sample in samples]
    splits = split_by_content(samples, digests, val_fraction=val, test_fraction=test, seed=seed)
    return {sample.path: split for split, found in splits.items() for sample in found}


def photos(count: int, label: str = "a", first: int = 0) -> list[Sample]:
    return [Sample(str(number), label) for number in range(first, first + count)]


def test_every_photo_is_in_exactly_one_split_in_its_order() -> None:
    samples = photos(200)
    splits = split_by_content(samples, [digest(n) for n in range(200)], val_fraction=0.2, test_fraction=0.1, seed=0)

    assert list(splits) == ["train", "val", "test"]
    assert Counter(itertools.chain(*splits.values())) == Counter(samples)
    for found in splits.values():
        assert found == sorted(found, key=samples.index)


def test_the_same_seed_gives_the_same_split_and_the_order_does_not_matter() -> None:
    samples = photos(300)

    assert divide(samples) == divide(samples)
    assert divide(samples) == divide(samples[::-1])


def test_another_seed_gives_another_split() -> None:
    samples = photos(300)
    splits = [divide(samples, seed=seed) for seed in range(3)]

    for one, other in itertools.combinations(splits, 2):
        # two independent splits of 70/20/10 differ in 46 % of the photos
        assert 80 < sum(one[path] != other[path] for path in one) < 200


@pytest.mark.parametrize("seed", range(5))
def test_proportions_are_within_binomial_bounds_in_every_class(seed: int) -> None:
    samples = [sample for index, label in enumerate("abc") for sample in photos(2000, label, 10_000 * index)]
    splits = divide(samples, seed=seed)

    counts = Counter((sample.label, splits[sample.path]) for sample in samples)
    shares: dict[Split, float] = {"train": 0.7, "val": 0.2, "test": 0.1}
    for label, (split, share) in itertools.product("abc", shares.items()):
        deviation = math.sqrt(2000 * share * (1 - share))
        assert abs(counts[label, split] - 2000 * share) < 4.5 * deviation


def test_adding_photos_moves_no_other() -> None:
    before = divide(photos(100))
    after = divide([*photos(100), *photos(400, first=100), *photos(50, "new", first=900)])

    assert {path: after[path] for path in before} == before


def test_removing_photos_moves_no_other() -> None:
    before = divide(photos(400))
    after = divide([sample for sample in photos(400) if int(sample.path) % 3])

    assert after == {path: before[path] for path in after}


def test_a_larger_validation_share_only_takes_from_training() -> None:
    small, large = divide(photos(500), val=0.1), divide(photos(500), val=0.3)

    moves = Counter((small[path], large[path]) for path in small if small[path] != large[path])
    assert set(moves) == {("train", "val")}


def test_copies_share_a_split() -> None:
    splits = divide([Sample(f"{number}#{copy}", "a") for number in range(200) for copy in range(3)])

    for number in range(200):
        assert len({splits[f"{number}#{copy}"] for copy in range(3)}) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(10))
def test_a_small_class_has_a_training_photo_and_keeps_the_others_where_they_are(count: int, seed: int) -> None:
    splits = divide(photos(count), val=0.45, test=0.45, seed=seed)
    alone = {
        path: split_of_content(digest(int(path)), val_fraction=0.45, test_fraction=0.45, seed=seed) for path in splits
    }

    moved = [path for path in splits if splits[path] != alone[path]]
    assert "train" in splits.values()
    assert len(moved) == (0 if "train" in alone.values() else 1)


def test_copies_of_the_one_training_photo_stay_together() -> None:
    splits = divide([Sample("0#a", "a"), Sample("0#b", "a")], val=0.49, test=0.49)

    assert set(splits.values()) == {"train"}


def test_without_a_test_share_there_is_no_test_split() -> None:
    splits = split_by_content(photos(50), [digest(n) for n in range(50)], val_fraction=0.5, test_fraction=0.0, seed=0)

    assert list(splits) == ["train", "val"]


def test_a_photos_split_is_pinned_over_versions() -> None:
    found = [split_of_content(digest(n), val_fraction=0.25, test_fraction=0.25, seed=7) for n in range(8)]

    assert found == ["train", "test", "val", "test", "train", "train", "test", "val"]
