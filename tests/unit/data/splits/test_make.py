from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from classifier_training.data.index.check import Facts
from classifier_training.data.index.table import Index, write_index
from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.splits import make as make_module
from classifier_training.data.splits.make import Splits, make_splits
from classifier_training.data.splits.positions import split_by_content, split_positions
from classifier_training.types import SPLITS, Split


def make_index(path: Path, groups: list[str | None] | None = None, count: int = 60) -> Index:
    writer = RowWriter()
    names = [f"{number}.jpg" for number in range(count)]
    writer.add("/p", names, ["cat", "dog"] * (count // 2), groups=groups)
    facts = Facts.empty(count)
    facts.digests[:] = np.random.default_rng(0).integers(0, 256, (count, 16))
    facts.widths[:] = facts.heights[:] = 10
    write_index(path, Listing("", writer.table()), facts, made_at_ns=1)
    return Index(path)


def halves(index: Index, seed: int = 0) -> Splits:
    return make_splits(index, "/p", val_fraction=0.3, test_fraction=0.2, seed=seed)


def test_a_group_stays_together(tmp_path: Path) -> None:
    groups: list[str | None] = [f"patient {number // 6}" for number in range(60)]
    found = halves(make_index(tmp_path / "i.arrow", groups)).rows

    split_of_row = {int(row): split for split, rows in found.items() for row in rows}
    of_group = {group: {split_of_row[row] for row in range(60) if groups[row] == group} for group in groups}
    assert all(len(splits) == 1 for splits in of_group.values())
    assert len(set.union(*of_group.values())) > 1


def test_an_image_without_a_group_goes_by_its_content(tmp_path: Path) -> None:
    alone = halves(make_index(tmp_path / "i.arrow"))
    mixed = halves(make_index(tmp_path / "g.arrow", ["one"] + [None] * 59))

    def split_of(division: Splits) -> dict[int, str]:
        return {int(row): split for split, rows in division.rows.items() for row in rows}

    moved = {row for row, split in split_of(mixed).items() if split_of(alone)[row] != split}
    assert moved <= {0}


def test_the_division_of_a_large_index_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = make_index(tmp_path / "i.arrow")
    fresh = halves(index)
    assert not list(tmp_path.glob("*.npz"))
    monkeypatch.setattr(make_module, "MIN_ROWS_STORED", 10)

    halves(index)
    (kept,) = tmp_path.glob("*.npz")
    monkeypatch.setattr(make_module, "positions_of", None)  # nothing is computed again
    again = halves(index)

    assert {split: rows.tolist() for split, rows in again.rows.items()} == {
        split: rows.tolist() for split, rows in fresh.rows.items()
    }
    assert (again.classes, again.notes, again.fingerprint) == (fresh.classes, fresh.notes, fresh.fingerprint)
    monkeypatch.undo()
    monkeypatch.setattr(make_module, "MIN_ROWS_STORED", 10)
    kept.write_bytes(b"spoilt")
    assert halves(index).fingerprint == fresh.fingerprint
    assert halves(index, seed=1).fingerprint != fresh.fingerprint
    assert len(list(tmp_path.glob("*.npz"))) == 2


def stored(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name: np.array(array) for name, array in arrays.items()})  # type: ignore[arg-type]  # its options
    return file.getvalue()


_ABOUT = {"classes": ["a"], "notes": [], "warnings": [], "fingerprint": "", "order": ""}


@pytest.mark.parametrize(
    "damaged",
    [
        b"", b"\xff" * 90, b"PK\x03\x04" + bytes(90), stored()[:10], stored(about="[]"), stored(about="{}"),
        stored(about="null"), stored(about=json.dumps(_ABOUT)), stored(about=json.dumps(_ABOUT), train=[10**6]),
        stored(about=json.dumps(_ABOUT), train=["a"]), stored(about=json.dumps(_ABOUT | {"classes": [1]}), train=[0]),
        stored(about=json.dumps(_ABOUT | {"notes": 1}), train=[0]), stored(about=json.dumps(_ABOUT), train=[[0]]),
    ],
)  # fmt: skip
def test_damaged_splits_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bytes) -> None:
    monkeypatch.setattr(make_module, "MIN_ROWS_STORED", 10)
    index = make_index(tmp_path / "i.arrow")
    fresh = halves(index)
    (kept,) = tmp_path.glob("*.npz")
    whole = kept.read_bytes()

    for content in (damaged, whole[: len(whole) // 2]):
        kept.write_bytes(content)
        again = halves(index)
        assert (again.classes, again.fingerprint) == (fresh.classes, fresh.fingerprint)
        assert all((again.rows[split] == rows).all() for split, rows in fresh.rows.items())
        with np.load(kept) as file:
            assert len(file["train"]) == len(fresh.rows["train"])


def digest(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def split_photos(
    photos: Sequence[tuple[str, str]], *, val: float = 0.2, test: float = 0.1, seed: int = 0
) -> dict[str, Split]:
    """Split by name, of photos given as (name, label); the name up to a # is the content."""
    digests = np.array([list(bytes.fromhex(digest(int(name.split("#")[0])))) for name, _ in photos], np.uint8)
    labels = np.unique([label for _, label in photos], return_inverse=True)[1]
    splits = split_by_content(labels, split_positions(digests, seed), val_fraction=val, test_fraction=test)
    return {name: SPLITS[code] for (name, _), code in zip(photos, splits, strict=True)}


def split_of_content(number: int, *, val: float, test: float, seed: int) -> Split:
    """The split of one photo on its own, by where its position lies."""
    (position,) = split_positions(np.array([list(bytes.fromhex(digest(number)))], np.uint8), seed)
    return "test" if position < test else "val" if position < test + val else "train"


def photos(count: int, label: str = "a", first: int = 0) -> list[tuple[str, str]]:
    return [(str(number), label) for number in range(first, first + count)]


def test_the_same_seed_gives_the_same_split_and_the_order_does_not_matter() -> None:
    samples = photos(300)

    assert split_photos(samples) == split_photos(samples)
    assert split_photos(samples) == split_photos(samples[::-1])


def test_another_seed_gives_another_split() -> None:
    samples = photos(300)
    splits = [split_photos(samples, seed=seed) for seed in range(3)]

    for one, other in itertools.combinations(splits, 2):
        # two independent splits of 70/20/10 differ in 46 % of the photos
        assert 80 < sum(one[path] != other[path] for path in one) < 200


@pytest.mark.parametrize("seed", range(5))
def test_proportions_are_within_binomial_bounds_in_every_class(seed: int) -> None:
    samples = [sample for index, label in enumerate("abc") for sample in photos(2000, label, 10_000 * index)]
    splits = split_photos(samples, seed=seed)

    counts = Counter((label, splits[name]) for name, label in samples)
    shares: dict[Split, float] = {"train": 0.7, "val": 0.2, "test": 0.1}
    for label, (split, share) in itertools.product("abc", shares.items()):
        deviation = math.sqrt(2000 * share * (1 - share))
        assert abs(counts[label, split] - 2000 * share) < 4.5 * deviation


def test_adding_photos_moves_no_other() -> None:
    before = split_photos(photos(100))
    after = split_photos([*photos(100), *photos(400, first=100), *photos(50, "new", first=900)])

    assert {path: after[path] for path in before} == before


def test_removing_photos_moves_no_other() -> None:
    before = split_photos(photos(400))
    after = split_photos([photo for photo in photos(400) if int(photo[0]) % 3])

    assert after == {path: before[path] for path in after}


def test_a_larger_validation_share_only_takes_from_training() -> None:
    small, large = split_photos(photos(500), val=0.1), split_photos(photos(500), val=0.3)

    moves = Counter((small[path], large[path]) for path in small if small[path] != large[path])
    assert set(moves) == {("train", "val")}


def test_copies_share_a_split() -> None:
    splits = split_photos([(f"{number}#{copy}", "a") for number in range(200) for copy in range(3)])

    for number in range(200):
        assert len({splits[f"{number}#{copy}"] for copy in range(3)}) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(10))
def test_a_small_class_has_a_training_photo_and_keeps_the_others_where_they_are(count: int, seed: int) -> None:
    splits = split_photos(photos(count), val=0.45, test=0.45, seed=seed)
    alone = {path: split_of_content(int(path), val=0.45, test=0.45, seed=seed) for path in splits}

    moved = [path for path in splits if splits[path] != alone[path]]
    assert "train" in splits.values()
    assert len(moved) == (0 if "train" in alone.values() else 1)


def test_copies_of_the_one_training_photo_stay_together() -> None:
    splits = split_photos([("0#a", "a"), ("0#b", "a")], val=0.49, test=0.49)

    assert set(splits.values()) == {"train"}


def test_without_a_test_share_nothing_is_tested_on() -> None:
    assert set(split_photos(photos(50), val=0.5, test=0.0).values()) == {"train", "val"}


def test_a_photos_split_is_pinned_over_versions() -> None:
    found = [split_of_content(number, val=0.25, test=0.25, seed=7) for number in range(8)]

    assert found == ["train", "test", "val", "test", "train", "train", "test", "val"]
