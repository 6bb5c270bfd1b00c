"""A folder around the class folders of a split, folders called nearly like splits, and what stays a class."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.photos import make_photos, make_split_photos, photo_rows, write_table

from classifier_training.data.sources.detect import list_photos
from classifier_training.data.sources.listing import Listing
from classifier_training.types import SPLITS


def _classes(listing: Listing) -> dict[str, list[str]]:
    """The classes of each split, or of a listing without splits under ``none``."""
    found = {split or "none": sorted({sample.label for sample in listing.samples(split)}) for split in (None, *SPLITS)}
    return {split: labels for split, labels in found.items() if labels}


def _note(inner: Path, outer: Path) -> str:
    return f"the photos are read from {inner}, the only folder of images in {outer}"


@pytest.mark.parametrize(
    ("train", "val"),
    [("photos/", "photos/"), ("photos/", ""), ("", "photos/"), ("train/", "val/"), ("a/b/", "c/")],
)
def test_class_folders_lie_deeper_than_their_split_folder(tmp_path: Path, train: str, val: str) -> None:
    counts = {f"train/{train}cat": 2, f"train/{train}dog": 1, f"val/{val}cat": 1, f"val/{val}dog": 1}

    listing = list_photos(make_photos(tmp_path, counts))

    assert _classes(listing) == {"train": ["cat", "dog"], "val": ["cat", "dog"]}
    assert listing.warnings == [
        _note(tmp_path / split / inner, tmp_path / split) for split, inner in (("train", train), ("val", val)) if inner
    ]
    places = [tmp_path / "train", tmp_path / "train" / train, tmp_path / "val", tmp_path / "val" / val]
    assert {str(place) for place in places} <= set(listing.watched)


def test_a_class_with_folders_in_it_stays_a_class(tmp_path: Path) -> None:
    counts = {"train/cat/good": 1, "train/cat/bad": 1, "train/dog": 1, "val/cat/good": 1, "val/cat/bad": 1}
    direct = list_photos(make_photos(tmp_path / "direct", counts))
    wrapped = list_photos(
        make_photos(tmp_path / "wrapped", {name.replace("/", "/photos/", 1): count for name, count in counts.items()})
    )
    of_a_model = list_photos(make_photos(tmp_path / "model", {"set/cat/good": 1, "set/cat/bad": 1}), classes=["cat"])

    assert _classes(direct) == _classes(wrapped) == {"train": ["cat", "dog"], "val": ["cat"]}
    assert direct.warnings == []
    assert len(wrapped.warnings) == 2
    assert _classes(of_a_model) == {"none": ["cat"]}


def test_the_classes_of_a_model_say_what_a_wrapper_is(tmp_path: Path) -> None:
    make_photos(tmp_path / "one", {"test/photos/cat": 1})
    make_photos(tmp_path / "own", {"test/photos/cat": 1, "test/photos/dog": 1})

    assert _classes(list_photos(tmp_path / "one", classes=("cat", "dog"))) == {"test": ["cat"]}
    assert _classes(list_photos(tmp_path / "own", classes=("photos", "dog"))) == {"test": ["photos"]}


def test_tables_and_stray_files_around_a_wrapper_are_told(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_table(tmp_path / "tables" / split / "set" / "metadata.csv", [
            {"file_name": row["image"], "label": row["label"]}
            for row in photo_rows(tmp_path / "tables" / split / "set", "ab")
        ])  # fmt: skip
    make_photos(tmp_path / "stray", {"train/photos/a": 1, "train/photos/b": 1, "train": 1, "train/photos": 1})

    tables, stray = list_photos(tmp_path / "tables"), list_photos(tmp_path / "stray")

    assert _classes(tables) == {"train": ["a", "b"], "val": ["a", "b"]}
    train = tmp_path / "tables" / "train"
    assert tables.warnings[0] == _note(train / "set", train)
    assert str(train) in tables.watched
    assert _classes(stray) == {"train": ["a", "b"]}
    assert [warning.partition(", outside")[0] for warning in stray.warnings[1:]] == [
        f"1 image(s) lie directly in {tmp_path}/stray/{folder}" for folder in ("train", "train/photos")
    ]


def test_a_hub_table_without_labels_is_told_wherever_it_lies(tmp_path: Path) -> None:
    without = [{"file_name": "cat/0.png", "text": "x"}]
    make_split_photos(tmp_path / "splits", 1, 1, 0)
    make_photos(tmp_path / "inner", {"train/photos/cat": 1, "train/photos/dog": 1})
    make_photos(tmp_path / "outer", {"set/cat": 1, "set/dog": 1})
    tables = [
        tmp_path / name / "metadata.csv" for name in ("splits/train", "splits/val", "inner/train/photos", "outer")
    ]
    for table in tables:
        write_table(table, without)

    found = [list_photos(tmp_path / name).warnings for name in ("splits", "inner", "outer")]

    notes = [f"{table} has no labels and is not read" for table in tables]
    assert [[line for line in lines if "labels" in line] for lines in found] == [notes[:2], notes[2:3], notes[3:]]


def test_folders_called_nearly_like_splits(tmp_path: Path) -> None:
    fruits = list_photos(make_photos(tmp_path / "f", {"Training/a": 1, "Training/b": 1, "Test/a": 1}))
    intel = list_photos(
        make_photos(tmp_path / "i", {"seg_train/seg_train/a": 1, "seg_train/seg_train/b": 1, "seg_test/seg_test/a": 1,
                                     "seg_pred/seg_pred": 1})
    )  # fmt: skip

    assert _classes(fruits) == _classes(intel) == {"train": ["a", "b"], "test": ["a"]}
    assert fruits.warnings == ["folders are read as splits: Training as train"]
    assert intel.warnings[0] == "folders are read as splits: seg_train as train, seg_test as test"
    assert intel.warnings[-1] == f"images next to the split folders are ignored: {tmp_path}/i/seg_pred"


@pytest.mark.parametrize(
    "counts",
    [
        {"train": 1, "steam train": 1, "test tube": 1},
        {"bullet train/x": 1, "bullet train": 1, "test tube/y": 1, "test tube": 1},
        {"training/x": 1, "bird/x": 1, "dog/y": 1},
        {"training a/x": 1, "training b/x": 1, "testing/x": 1},
        {"training/x": 1, "testing/x": 1, "c/x": 1, "d/x": 1, "e/x": 1},
    ],
)
def test_classes_whose_names_have_the_word_of_a_split(tmp_path: Path, counts: dict[str, int]) -> None:
    listing = list_photos(make_photos(tmp_path, counts))

    assert _classes(listing) == {"none": sorted({name.partition("/")[0] for name in counts})}


def test_classes_that_all_hold_the_same_folders_are_told(tmp_path: Path) -> None:
    same = {"images/a": 1, "images/b": 1, "masks/a": 1, "masks/b": 1}
    make_photos(tmp_path / "root", same)
    make_photos(tmp_path / "split", {f"train/{name}": count for name, count in same.items()})
    make_photos(tmp_path / "splits", {"cat/test": 1, "cat/train": 1, "dog/test": 1, "dog/train": 1})
    make_photos(tmp_path / "years", {f"{name}/{year}": 1 for name in "abcdef" for year in (2019, 2020)})

    root, split, splits, years = (
        list_photos(tmp_path / name).warnings for name in ("root", "split", "splits", "years")
    )

    name = f"all class folders in {tmp_path}"
    assert [*root, *split, *splits, *years] == [
        (
            f"{name}/root hold the same folders (a, b); if these are the classes, name one of images, masks:"
            f" classifier-training train {tmp_path}/root/images"
        ),
        f"{name}/split/train hold the same folders (a, b); if these are the classes, leave one of images, masks there",
        (
            f"{name}/splits hold the same folders (test, train), which are not read as splits; expected"
            f" {tmp_path}/splits/train/<class>/<image>"
        ),
    ]
