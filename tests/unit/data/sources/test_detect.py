from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.helpers.photos import make_photo, make_photos, make_split_photos, photo_rows, write_table

from classifier_training.data.sources.detect import list_photos
from classifier_training.data.sources.table import Columns
from classifier_training.errors import DataError


def test_split_folders(tmp_path: Path) -> None:
    listing = list_photos(make_split_photos(tmp_path, 2, 1, 1))

    assert listing.layout == "split folders (train, val, test) with one folder per class"
    assert {split: listing.count(split) for split in listing.locations} == {"train": 4, "val": 2, "test": 2}


def test_class_folders(tmp_path: Path) -> None:
    listing = list_photos(make_photos(tmp_path, {"a": 2, "b": 1}))

    assert listing.layout == "one folder per class, no splits"
    assert len(listing.samples()) == 3


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_in_the_root_or_as_the_root(tmp_path: Path, suffix: str) -> None:
    table = write_table(tmp_path / f"annotations.{suffix}", photo_rows(tmp_path, ["a", "b"]))

    assert list_photos(tmp_path).samples() == list_photos(table).samples()
    assert list_photos(tmp_path).layout == f"table annotations.{suffix}"

    renamed = table.rename(tmp_path / f"Any Name.{suffix.upper()}")
    assert len(list_photos(renamed).samples()) == 2


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_in_each_split_next_to_its_images(tmp_path: Path, suffix: str) -> None:
    for split in ("Train", "validation"):
        rows = photo_rows(tmp_path / split, ["00", "no"])
        named = [{"file": row["image"], "class": row["label"]} for row in rows]
        write_table(tmp_path / split / f"annotations.{suffix}", named)

    listing = list_photos(tmp_path, Columns(image="file", label="class"))

    assert {split: listing.count(split) for split in listing.locations} == {"train": 2, "val": 2}
    assert f"Train/annotations.{suffix}, validation/annotations.{suffix}" in listing.layout
    assert listing.warnings == []


def test_a_split_without_a_table_where_the_others_have_one(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 1, 1, 0)
    write_table(tmp_path / "train" / "annotations.csv", [{"image": "cat/0.png", "label": "cat"}])

    with pytest.raises(DataError, match=rf"{tmp_path / 'val'} has no annotations file, but .*train/annotations\.csv"):
        list_photos(tmp_path)


def test_a_missing_root_and_a_file_that_is_not_a_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"there is no folder {tmp_path / 'nothing'}"):
        list_photos(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"notes\.txt is a file, but not a table; allowed are a folder or \.jsonl"):
        list_photos(tmp_path / "notes.txt")


@pytest.mark.parametrize("make", [
    lambda root: None,
    lambda root: (root / "cat").mkdir(),
    lambda root: make_photos(root, {"train/cat": 0, "val": 0}),
    lambda root: make_photos(root, {".hidden/cat": 2}),
    lambda root: (root / "annotations.csv").write_text("image,label\n"),
])  # fmt: skip
def test_no_images_at_all(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path)

    with pytest.raises(DataError, match=rf"^no images in {tmp_path}.*; expected <class>/<image>") as caught:
        list_photos(tmp_path)

    assert "\n" not in str(caught.value)


def test_images_that_lie_in_no_class_folder_are_reported(tmp_path: Path) -> None:
    make_photo(tmp_path / "a.png", 0)

    with pytest.raises(DataError, match=r"1 image\(s\) lie directly in .* outside any class folder.*expected <class>"):
        list_photos(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="the file system takes Unicode names only")
def test_names_that_are_not_unicode_are_refused_with_a_message_that_prints(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "b").rename(tmp_path / os.fsdecode(b"caf\xe9"))

    with pytest.raises(DataError, match=r"not Unicode text; rename it") as caught:
        list_photos(tmp_path)

    assert "caf\\udce9" in str(caught.value)
    str(caught.value).encode()


def test_a_label_that_is_half_a_character_is_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations.jsonl").write_text('{"image": "x.png", "label": "\\ud83d"}\n')

    with pytest.raises(DataError, match="not Unicode text"):
        list_photos(tmp_path)
