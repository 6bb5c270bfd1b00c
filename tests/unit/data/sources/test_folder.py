from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from tests.helpers.photos import make_photo, make_photos

from classifier_training.data.sources.folder import list_class_folders, list_split_folders, split_folders
from classifier_training.data.sources.listing import Listing
from classifier_training.errors import DataError
from classifier_training.inference.listing import find_images
from classifier_training.types import ImageRecord, Sample


def classes_in(root: Path) -> tuple[Counter[str], list[str]]:
    listing = list_class_folders(root)
    return Counter(sample.label for sample in listing.samples()), listing.warnings


def list_splits(root: Path) -> Listing:
    return list_split_folders(root, split_folders(root))


@pytest.mark.parametrize("val", ["val", "valid", "validation", "VAL", "Valid", "Validation"])
@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "TEST")])
def test_split_folders_are_known_by_their_usual_names(tmp_path: Path, train: str, val: str, test: str) -> None:
    make_photos(tmp_path, {f"{split}/{name}": 1 for split in (train, val, test) for name in "ab"})

    listing = list_splits(tmp_path)

    assert list(listing.locations) == ["train", "val", "test"]
    assert listing.locations == {
        "train": str(tmp_path / train),
        "val": str(tmp_path / val),
        "test": str(tmp_path / test),
    }
    assert [sample.label for sample in listing.samples("val")] == ["a", "b"]
    assert f"({train}, {val}, {test})" in listing.layout
    assert listing.warnings == []


@pytest.mark.parametrize(("one", "other"), [("val", "valid"), ("val", "validation"), ("train", "Train")])
def test_two_folders_that_could_both_be_a_split(tmp_path: Path, one: str, other: str) -> None:
    make_photos(tmp_path, {"train/a": 1, f"{one}/a": 1, f"{other}/a": 1})

    with pytest.raises(DataError) as caught:
        split_folders(tmp_path)

    message = str(caught.value)
    assert str(tmp_path) in message
    assert f"{min(one, other)} and {max(one, other)}" in message


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train": 2, "plane": 1, "test": 1})

    assert split_folders(tmp_path) == {}
    assert classes_in(tmp_path) == ({"train": 2, "plane": 1, "test": 1}, [])


def test_a_class_called_train_within_splits(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train/train": 2, "train/val": 1, "val/train": 1, "val/val": 1})

    listing = list_splits(tmp_path)

    assert [sample.label for sample in listing.samples("train")] == ["train", "train", "val"]
    assert [sample.label for sample in listing.samples("val")] == ["train", "val"]


def test_splits_without_class_folders_are_not_classes(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train": 2, "test": 2})

    with pytest.raises(DataError, match=r"the splits test, train without class folders.*test/<class>/<image>$"):
        split_folders(tmp_path)


def test_an_unlabelled_test_folder_next_to_the_splits_is_reported(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train/a": 1, "val/a": 1, "test": 2, "empty": 0, ".cache/a": 1})
    make_photo(tmp_path / "loose.png", 9)

    listing = list_splits(tmp_path)

    assert list(listing.locations) == ["train", "val"]
    assert listing.warnings == [
        f"images next to the split folders are ignored: {tmp_path / 'test'}",
        f"1 image(s) lie directly in {tmp_path}, outside any class folder, and are ignored",
    ]


@pytest.mark.parametrize("name", ["00", "012", "no", "1e3", "null", " a b", "Ünï-日本語", "🐈", "a.b", "a,b", 'q"'])
def test_a_class_is_the_name_of_its_folder(tmp_path: Path, name: str) -> None:
    make_photos(tmp_path, {name: 2, "other": 1})

    assert classes_in(tmp_path) == ({name: 2, "other": 1}, [])


def test_order_is_lexicographic_not_natural(tmp_path: Path) -> None:
    make_photos(tmp_path, dict.fromkeys(["b", "10", "9", "B", "ä", "_"], 1))
    make_photo(tmp_path / "10" / "10.png", 50)
    make_photo(tmp_path / "10" / "9.png", 51)

    samples = list_class_folders(tmp_path).samples()

    assert list(dict.fromkeys(sample.label for sample in samples)) == ["10", "9", "B", "_", "b", "ä"]
    assert [Path(sample.path).name for sample in samples[:3]] == ["0.png", "10.png", "9.png"]


def test_hidden_files_and_folders_are_ignored(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 1, "b": 1, ".ipynb_checkpoints": 1, "a/.thumbs": 1})
    make_photo(tmp_path / "a" / "._0.png", 7)
    make_photo(tmp_path / ".loose.png", 8)

    assert classes_in(tmp_path) == ({"a": 1, "b": 1}, [])


def test_what_systems_leave_behind_is_no_class_and_is_named(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 1, "b": 1, "@eaDir/a": 2, "b/@eaDir": 1, "__MACOSX": 1, "$RECYCLE.BIN": 1})

    counts, warnings = classes_in(tmp_path)

    kinds = "$RECYCLE.BIN (1), @eaDir (2), __MACOSX (1)"
    assert counts == {"a": 1, "b": 1}
    assert warnings == [
        f"what systems and programs have left below {tmp_path} is skipped: {kinds}",
    ]


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 1, "b": 1, "c": 0, "d/.hidden": 1})

    counts, warnings = classes_in(tmp_path)

    assert counts == {"a": 1, "b": 1}
    assert warnings == [f"class folder {tmp_path / name} holds no images; the class is left out" for name in "cd"]


def test_images_deeper_below_belong_to_the_class(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 1, "a/2024/may": 2, "a/2023": 1, "b/x": 1})

    samples = list_class_folders(tmp_path).samples()

    assert [(sample.label, os.path.relpath(sample.path, tmp_path)) for sample in samples] == [
        ("a", "a/0.png"),
        ("a", "a/2023/0.png"),
        ("a", "a/2024/may/0.png"),
        ("a", "a/2024/may/1.png"),
        ("b", "b/x/0.png"),
    ]


def test_upper_case_extensions_and_other_files(tmp_path: Path) -> None:
    for name in ("1.PNG", "2.JpG", "3.jpeg"):
        make_photo(tmp_path / "a" / name, 1)
    for name in ("notes.txt", "Thumbs.DB", "more.TXT", "README"):
        (tmp_path / "a" / name).write_text("no image")

    counts, warnings = classes_in(tmp_path)

    assert counts == {"a": 3}
    assert warnings == [f"files below {tmp_path} that are not images are ignored: 1 × .db, 2 × .txt, 1 × no extension"]


def test_stray_images_are_counted_and_their_folder_named(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train/a": 1, "val/a": 1})
    make_photo(tmp_path / "train" / "stray.png", 5)
    make_photo(tmp_path / "train" / "stray.JPG", 6)

    listing = list_splits(tmp_path)

    assert listing.warnings == [
        f"2 image(s) lie directly in {tmp_path / 'train'}, outside any class folder, and are ignored"
    ]


def test_links_to_folders_are_followed_and_loops_left(tmp_path: Path) -> None:
    root = make_photos(tmp_path / "photos", {"a": 1, "b": 1})
    make_photos(tmp_path / "elsewhere", {"": 2}, first_seed=5)
    (root / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "up").symlink_to(root / "a")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "self").symlink_to(root / "b" / "self")
    (root / "itself").symlink_to(root / "itself")
    (root / "dangling").symlink_to(tmp_path / "nowhere")

    counts, warnings = classes_in(root)

    assert counts == {"a": 3, "b": 1, "c": 2}
    assert warnings == [f"files below {root} that are not images are ignored: 1 × no extension"]
    assert split_folders(root) == {}


def test_a_link_that_leads_up_finds_no_image_twice(tmp_path: Path) -> None:
    root = make_photos(tmp_path / "photos", {"a": 1, "b": 1})
    make_photos(tmp_path / "elsewhere", {"": 1}, first_seed=5)
    (root / "a" / "loop").symlink_to("..")
    (root / "all").symlink_to(".")
    (root / "higher").symlink_to(tmp_path)
    (root / "b" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root)

    assert classes_in(root)[0] == {"a": 1, "b": 2}
    assert len(find_images([root / "a"])) == 1
    assert len(find_images([root / "b"])) == 2


def test_what_lies_beside_the_classes_and_is_no_plain_file_is_named(tmp_path: Path) -> None:
    root = make_photos(tmp_path, {"a": 1, "b": 1})
    os.mkfifo(root / "a.tar")

    assert classes_in(root) == ({"a": 1, "b": 1}, [f"not read: {root / 'a.tar'} (it is a FIFO and not a plain file)"])


def test_a_split_folder_with_a_loop_in_it(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train/a": 1, "val/a": 1})
    (tmp_path / "val" / "loop").symlink_to(tmp_path / "val" / "loop")

    assert list(split_folders(tmp_path)) == ["train", "val"]


def test_an_empty_split_folder_is_one(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train/a": 1, "val": 0})

    assert list_splits(tmp_path).samples("val") == []


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="this user may read everything")
@pytest.mark.parametrize("folder", ["a", "a/deeper"])
def test_an_unreadable_folder_is_named_and_not_skipped(tmp_path: Path, folder: str) -> None:
    make_photos(tmp_path, {"a/deeper": 1, "b": 1})
    (tmp_path / folder).chmod(0)
    try:
        with pytest.raises(DataError, match=rf"^cannot read the folder {tmp_path / folder}: Permission denied$"):
            list_class_folders(tmp_path)
    finally:
        (tmp_path / folder).chmod(0o755)


def test_paths_are_text_that_opens(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 1})

    assert list_class_folders(tmp_path).samples() == [Sample(ImageRecord(str(tmp_path / "a" / "0.png")), "a")]
