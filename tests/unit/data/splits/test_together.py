"""What belongs together is in one split, whatever else there is, and stays where it is."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from classifier_training.data.index.check import Facts
from classifier_training.data.index.table import Index, write_index
from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.splits.make import make_splits
from classifier_training.types import Split


class Photo(NamedTuple):
    """One photo of a made-up source."""

    content: int
    label: str
    group: str | None = None


def index_of(path: Path, photos: list[Photo]) -> Index:
    writer, facts = RowWriter(), Facts.empty(len(photos))
    for row, photo in enumerate(photos):
        writer.add("/p", [f"{row}.jpg"], [photo.label], groups=[photo.group])
        digest = hashlib.blake2b(str(photo.content).encode(), digest_size=16).digest()
        facts.digests[row] = np.frombuffer(digest, np.uint8)
    facts.widths[:] = facts.heights[:] = 10
    write_index(path, Listing("", writer.table()), facts)
    return Index(path)


def split_all(path: Path, photos: list[Photo], seed: int = 0, rule: int = 2) -> list[Split]:
    found = make_splits(index_of(path, photos), "/p", 0.25, 0.25, seed, rule=rule)
    of_row = {int(row): split for split, rows in found.rows.items() for row in rows}
    return [of_row[row] for row in range(len(photos))]


def random_photos(seed: int, count: int = 150) -> list[Photo]:
    """Copies, copies under other labels, groups, photos without one, and classes that live in one group."""
    dice = random.Random(seed)
    photos = [
        Photo(dice.randrange(120), dice.choice("abc"), dice.choice([None, None, f"g{number % 40}"]))
        for number in range(count)
    ]
    return [*photos, *(Photo(1000 + number, f"rare {number % 3}", f"g{number % 3}") for number in range(6))]


@pytest.mark.parametrize("seed", range(12))
def test_groups_and_copies_are_in_one_split_and_every_class_is_trained(tmp_path: Path, seed: int) -> None:
    photos = random_photos(seed)

    splits = split_all(tmp_path / "i.arrow", photos, seed)

    of_what: dict[object, set[Split]] = defaultdict(set)
    for photo, split in zip(photos, splits, strict=True):
        of_what[photo.content].add(split)
        if photo.group is not None:
            of_what[photo.group].add(split)
    assert all(len(found) == 1 for found in of_what.values())
    assert {photo.label for photo, split in zip(photos, splits, strict=True) if split == "train"} == {
        photo.label for photo in photos
    }


@pytest.mark.parametrize("seed", range(12))
def test_a_new_photo_moves_no_other(tmp_path: Path, seed: int) -> None:
    """But for a class that has no training photo by chance, which is another test."""
    dice = random.Random(seed)
    photos = [Photo(row, "ab"[row % 2], f"g{row // 3}" if row % 3 else None) for row in range(120)]
    before = split_all(tmp_path / "i.arrow", photos, seed)
    group = dice.choice([None, "new", "g7", "g20"])
    # a class that is new and alone takes what it belongs to to training
    new = Photo(dice.randrange(1000, 2000), "abc"[seed % 3] if group in {None, "new"} else "a", group)

    after = split_all(tmp_path / "i.arrow", [*photos, new], seed)

    assert after[:-1] == before
    if new.group in {"g7", "g20"}:
        assert after[-1] == before[[photo.group for photo in photos].index(new.group)]


def test_a_class_that_lives_in_one_group_takes_the_whole_group_to_training(tmp_path: Path) -> None:
    others = [Photo(row, "ab"[row % 2], f"g{row}") for row in range(60)]
    splits = split_all(tmp_path / "i.arrow", others)
    group = others[next(row for row, split in enumerate(splits) if split == "test")].group
    rare = [Photo(900, "rare", group), Photo(901, "a", group), Photo(902, "rare", group)]

    found = make_splits(index_of(tmp_path / "j.arrow", [*others, *rare]), "/p", 0.25, 0.25, 0)

    of_group = {row for row, photo in enumerate([*others, *rare]) if photo.group == group}
    assert of_group <= set(found.rows["train"].tolist())
    assert "class 'rare'; 4 photo(s) of them" in found.notes[1]


def test_copies_under_two_labels_are_in_one_split_though_one_class_needs_them(tmp_path: Path) -> None:
    others = [Photo(row, "ab"[row % 2]) for row in range(60)]
    splits = split_all(tmp_path / "i.arrow", others)
    content = next(row for row, split in enumerate(splits) if split == "val" and others[row].label == "a")
    photos = [*others, Photo(content, "rare")]

    after = split_all(tmp_path / "j.arrow", photos)

    assert after[content] == after[-1] == "train"
    of_rule_1 = split_all(tmp_path / "j.arrow", photos, rule=1)  # a run that began with it keeps its splits
    assert (of_rule_1[content], of_rule_1[-1]) == ("val", "train")


def test_a_chain_of_copies_and_groups_is_one_set(tmp_path: Path) -> None:
    chain = [Photo(500 + link // 2, "a", f"g{(link + 1) // 2}") for link in range(40)]
    others = [Photo(row, "ab"[row % 2]) for row in range(60)]

    splits = split_all(tmp_path / "i.arrow", [*chain, *others])

    assert len(set(splits[:40])) == 1
