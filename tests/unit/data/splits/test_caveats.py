"""What a user is told of copies, contradictions and leaks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.helpers.photos import make_photo, make_split_photos, photo_rows, write_table

from classifier_training.config.schema import DataConfig
from classifier_training.data.photos import Photos, load_photos
from classifier_training.errors import DataError


def load(root: Path, **settings: object) -> Photos:
    return load_photos(DataConfig(root=str(root), cache_dir=str(root.parent / "cache"), **settings), 0)  # type: ignore[arg-type]


def test_one_content_under_two_labels_is_named(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos")
    for number in range(2):
        shutil.copyfile(photos / f"train/cat/{number}.png", photos / f"train/dog/copy{number}.png")

    (warning,) = load(photos).warnings

    assert warning == (
        f"4 image(s) have one content under several labels (2 different image(s)): {photos}/train/cat/0.png ('cat'),"
        f" {photos}/train/cat/1.png ('cat'), {photos}/train/dog/copy0.png ('dog') and 1 more"
    )


def test_a_test_split_that_is_the_validation_split_is_named(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos", test=0)
    shutil.copytree(photos / "val", photos / "test")

    (warning,) = load(photos).warnings

    assert warning.startswith(f"6 test image(s) are also in val, byte for byte: {photos}/test/cat/0.png, ")


def test_rows_that_a_table_has_twice_are_named(tmp_path: Path) -> None:
    rows = photo_rows(tmp_path / "photos", ["cat", "dog"] * 20)
    write_table(tmp_path / "photos" / "annotations.csv", [*rows, rows[4], rows[4], rows[7]])

    (warning,) = load(tmp_path / "photos").warnings

    assert warning == (
        "3 image(s) are listed again with the same label, and count again:"
        f" {tmp_path}/photos/images/4.png, {tmp_path}/photos/images/4.png, {tmp_path}/photos/images/7.png"
    )


def test_copies_of_one_class_in_one_split_are_nobodys_trouble(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos")
    shutil.copyfile(photos / "train/cat/0.png", photos / "train/cat/again.png")

    assert load(photos).warnings == ()


def test_a_group_in_two_given_splits_is_refused_or_warned_of(tmp_path: Path) -> None:
    names = ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    rows = photo_rows(tmp_path / "photos", ["cat", "dog"] * 8)
    groups = [f"p{number}" for number in range(14)] + ["p1", "p9"]
    for row, split, group in zip(rows, names, groups, strict=True):
        row |= {"patient": group, "split": split}
    write_table(tmp_path / "photos" / "annotations.csv", rows)
    with pytest.raises(DataError) as caught:
        load(tmp_path / "photos", group_column="patient")

    message = "2 group(s) are in two given splits: 'p1' in train and test, 'p9' in val and test"
    advice = "put each into one of them, or allow it with data.on_group_overlap=warn"
    assert str(caught.value) == f"{message}; {advice}"
    assert load(tmp_path / "photos", group_column="patient", on_group_overlap="warn").warnings == (message,)
    assert load(tmp_path / "photos").warnings == ()
    for row in rows:  # without given splits the groups decide, and there is nothing to refuse
        del row["split"]
    write_table(tmp_path / "photos" / "annotations.csv", rows)
    assert not any("group" in warning for warning in load(tmp_path / "photos", group_column="patient").warnings)


def test_a_photo_of_the_same_name_elsewhere_is_another(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos")
    make_photo(photos / "train/cat/deeper/0.png", 700)

    assert load(photos).warnings == ()
