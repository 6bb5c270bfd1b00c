from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.photos import make_photo, make_photos, make_split_photos, photo_rows, write_table

from classifier_training.config.schema import DataConfig
from classifier_training.data.photos import Photos, load_photos
from classifier_training.errors import DataError
from classifier_training.types import SPLITS


def load(root: Path, seed: int = 0, **settings: Any) -> Photos:
    return load_photos(DataConfig(root=str(root), **settings), seed)


def test_classes_labels_and_counts(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train/b": 2, "train/10": 1, "train/9": 3, "val/9": 1, "val/10": 1, "val/b": 2})

    photos = load(tmp_path)

    assert photos.classes == ("10", "9", "b")
    assert photos.labels("train").tolist() == [0, 1, 1, 1, 2, 2]
    assert photos.counts("train") == [1, 3, 2]
    assert photos.counts("val") == [1, 1, 2]
    assert photos.counts("test") == [0, 0, 0]
    assert photos.warnings == ()
    assert photos.bad == ()


def test_no_root_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no photos given"):
        load_photos(DataConfig(), 0)
    with pytest.raises(DataError, match="there is no folder"):
        load(tmp_path / "nothing")


def test_home_and_relative_roots_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_split_photos(tmp_path / "photos", 1, 1, 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    for root in (Path("~/photos"), Path("photos"), Path("photos/../photos")):
        photos = load(root)
        assert photos.root == str(tmp_path / "photos")
        assert photos.samples("train")[0].path == str(tmp_path / "photos" / "train" / "cat" / "0.png")


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_that_training_lacks(tmp_path: Path, split: str) -> None:
    make_split_photos(tmp_path, 1, 1, 1)
    make_photos(tmp_path, {f"{split}/unseen": 1, f"{split}/zebra": 1, "train/zebra": 0}, first_seed=50)

    with pytest.raises(DataError) as caught:
        load(tmp_path)

    message = str(caught.value)
    assert message.startswith(f"class 'unseen' exists in the {split} split ({tmp_path / split / 'unseen'}")
    assert "1 more such" in message
    assert "\n" not in message


def test_a_class_that_a_score_lacks_is_a_warning(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 2, 1, 1)
    shutil.rmtree(tmp_path / "val" / "dog")
    (tmp_path / "test" / "dog" / "0.png").unlink()

    warnings = load(tmp_path).warnings

    assert "no val images of class 'dog'" in warnings
    assert "no test images of class 'dog'" in warnings
    assert f"class folder {tmp_path / 'test' / 'dog'} holds no images" in warnings


def test_an_empty_class_folder_is_not_a_class(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 5, "b": 5, "nothing": 0})

    photos = load(tmp_path)

    assert photos.classes == ("a", "b")
    assert any(str(tmp_path / "nothing") in warning for warning in photos.warnings)


@pytest.mark.parametrize("folder", ["val", "validation", "test", "train"])
def test_an_empty_split_folder_is_named(tmp_path: Path, folder: str) -> None:
    make_photos(tmp_path, {"train/a": 1, "train/b": 1, "other": 0})
    shutil.rmtree(tmp_path / "train") if folder == "train" else None
    make_photos(tmp_path, {folder: 0, "val/a": 1} if folder == "train" else {folder: 0}, first_seed=9)

    with pytest.raises(DataError, match=rf"split holds no images: {tmp_path / folder}; add some, or remove it$"):
        load(tmp_path)


@pytest.mark.parametrize("layout", ["", "train/"])
def test_one_class_only(tmp_path: Path, layout: str) -> None:
    make_photos(tmp_path, {f"{layout}shirt": 5})

    with pytest.raises(DataError, match=rf"{tmp_path} has one class only \('shirt'\); a classifier needs two"):
        load(tmp_path)


def test_splits_without_training(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 0, 1, 1)

    with pytest.raises(DataError, match=r"^val and test without a train split; add a train folder"):
        load(tmp_path)


def test_class_folders_are_split_by_content(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 60, "b": 60})

    photos = load(tmp_path, val_fraction=0.25, test_fraction=0.25)

    assert sum(map(len, photos.rows.values())) == 120
    assert all(12 < len(photos.rows[split]) < 48 for split in ("val", "test"))
    assert "no splits given: each photo's content and seed 0 decide its split (25% validation, 25% test)" in (
        photos.notes
    )
    other = load(tmp_path, 1, val_fraction=0.25, test_fraction=0.25)
    assert other.rows["val"].tolist() != photos.rows["val"].tolist()


def test_renaming_moving_and_adding_photos_moves_none_to_another_split(tmp_path: Path) -> None:
    make_photos(tmp_path / "one", {"a": 30, "b": 30})
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for number in range(30):
        (tmp_path / "two" / "a" / f"{number}.png").rename(tmp_path / "two" / "a" / f"renamed{99 - number}.png")
    make_photos(tmp_path / "two", {"c": 10}, first_seed=500)
    make_photo(tmp_path / "two" / "a" / "new.png", 700)

    first, second = load(tmp_path / "one"), load(tmp_path / "two")

    def contents(photos: Photos) -> dict[bytes, str]:
        return {Path(s.path).read_bytes(): split for split in photos.rows for s in photos.samples(split)}

    assert contents(first).items() <= contents(second).items()


def test_without_a_validation_split_training_photos_are_held_out(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 40, 0, 3)
    given = load(tmp_path, val_fraction=0.5)

    assert list(given.rows) == ["train", "val", "test"]
    assert len(given.rows["train"]) + len(given.rows["val"]) == 80
    assert 20 < len(given.rows["val"]) < 60
    assert len(given.rows["test"]) == 6
    assert "no validation split given: 50% of the training photos are held out for it" in given.notes


def test_no_validation_at_all(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 3, "b": 3})

    with pytest.raises(DataError, match=rf"no validation images in {tmp_path}; .*data\.val_fraction"):
        load(tmp_path, val_fraction=0.0)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_with_hostile_class_names(tmp_path: Path, suffix: str) -> None:
    names = ["-", "00", "012", "1e3", "no", "日本語"]
    rows = photo_rows(tmp_path, names * 2)
    for number, row in enumerate(rows):
        row["split"] = "train" if number < len(names) else "valid"
    write_table(tmp_path / f"annotations.{suffix}", rows)

    photos = load(tmp_path)

    assert photos.classes == tuple(sorted(names))
    for split in SPLITS[:2]:
        assert photos.labels(split).tolist() == [photos.classes.index(name) for name in names]


def test_configured_columns(tmp_path: Path) -> None:
    rows = [
        {"file": row["image"], "garment": row["label"], "fold": split}
        for row, split in zip(photo_rows(tmp_path, "abab"), ["train", "train", "val", "val"], strict=True)
    ]
    write_table(tmp_path / "annotations.csv", rows)

    photos = load(tmp_path, image_column="file", label_column="garment", split_column="fold")

    assert photos.counts("train") == photos.counts("val") == [1, 1]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_with_paths_that_do_not_exist(tmp_path: Path, suffix: str) -> None:
    rows = photo_rows(tmp_path, "ab" * 10)
    rows.append({"image": "gone.png", "label": "a"})
    write_table(tmp_path / f"annotations.{suffix}", rows)

    with pytest.raises(DataError, match=rf"^1 file\(s\) .*{tmp_path}/gone\.png: no such file or directory; "):
        load(tmp_path)
    assert [image.path for image in load(tmp_path, on_bad_image="skip").bad] == [f"{tmp_path}/gone.png"]


def test_a_broken_file_stops_the_run_and_is_named(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 3, 2, 2)
    (tmp_path / "test" / "dog" / "1.png").write_bytes(b"broken")

    with pytest.raises(DataError, match=rf"{tmp_path}/test/dog/1\.png.*data\.on_bad_image=skip"):
        load(tmp_path)


def test_a_skipped_file_is_left_out_counted_and_not_replaced(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 3, 2, 2)
    whole = load(tmp_path)
    bad = [tmp_path / "train" / "cat" / "1.png", tmp_path / "test" / "dog" / "0.png"]
    for path in bad:
        path.write_bytes(path.read_bytes()[:100])

    photos = load(tmp_path, on_bad_image="skip")

    assert {image.path for image in photos.bad} == set(map(str, bad))
    assert all(image.path in image.reason for image in photos.bad)
    for split in whole.rows:
        kept = [sample.path for sample in whole.samples(split) if Path(sample.path) not in bad]
        assert [sample.path for sample in photos.samples(split)] == kept
    assert photos.counts("train") == [2, 3]


def test_a_class_whose_files_are_all_broken_is_reported(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 9, "b": 9})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x.png").write_bytes(b"")

    photos = load(tmp_path, on_bad_image="skip")

    assert photos.classes == ("a", "b")
    assert "class 'c' has no image that can be read; the class is left out" in photos.warnings


@pytest.mark.parametrize("layout", ["", "train/"])
def test_nothing_can_be_read(tmp_path: Path, layout: str) -> None:
    make_photos(tmp_path, {f"{layout}a": 0, f"{layout}b": 0})
    for name in "ab":
        (tmp_path / layout / name / "x.png").write_bytes(b"")

    with pytest.raises(DataError, match=rf"^no image in {tmp_path} can be read: .*a/x\.png: the file is empty"):
        load(tmp_path, on_bad_image="skip")


def test_no_training_image_can_be_read(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 1, 1, 0)
    for name in ("cat", "dog"):
        (tmp_path / "train" / name / "0.png").write_bytes(b"")

    with pytest.raises(DataError, match=r"class 'cat' exists in the val split .* but has no training images"):
        load(tmp_path, on_bad_image="skip")


def test_a_class_of_a_split_that_differs_in_case_only(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train/a": 2, "train/b": 2, "val/a": 1, "val/B": 1})

    with pytest.raises(DataError, match=r"^class 'B' exists in the val split \(.*\) but has no training images; if it"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"; if it is the class 'b' of training, rename one of them$"):
        load(tmp_path)


def test_photos_that_leak_from_training_are_named(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 3, 2, 2)
    assert load(tmp_path).warnings == ()
    shutil.copy(tmp_path / "train" / "cat" / "0.png", tmp_path / "test" / "cat" / "copy.png")
    shutil.copy(tmp_path / "train" / "dog" / "1.png", tmp_path / "val" / "dog" / "1.png")

    warnings = load(tmp_path).warnings

    assert set(warnings) == {
        f"1 val image(s) are also in train, byte for byte: {tmp_path}/val/dog/1.png",
        f"1 test image(s) are also in train, byte for byte: {tmp_path}/test/cat/copy.png",
    }


def test_copies_in_an_unsplit_root_never_leak(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 40, "b": 40})
    for number in range(40):
        shutil.copy(tmp_path / "a" / f"{number}.png", tmp_path / "a" / f"copy{number}.png")

    assert not any("byte for byte" in warning for warning in load(tmp_path).warnings)


def test_the_fingerprint_is_that_of_content_labels_and_splits(tmp_path: Path) -> None:
    one = load(make_split_photos(tmp_path / "one"))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "train" / "cat" / "0.png").rename(tmp_path / "two" / "train" / "cat" / "renamed.png")
    two = load(tmp_path / "two")
    assert one.fingerprint == two.fingerprint

    (tmp_path / "two" / "train" / "cat").rename(tmp_path / "two" / "train" / "dog2")
    shutil.rmtree(tmp_path / "two" / "val" / "cat")
    shutil.rmtree(tmp_path / "two" / "test" / "cat")
    assert load(tmp_path / "two").fingerprint != one.fingerprint
    make_photo(tmp_path / "one" / "val" / "cat" / "0.png", 99)
    assert load(tmp_path / "one").fingerprint != one.fingerprint


def test_progress_is_reported(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 2, 1, 1)
    messages: list[tuple[int, int]] = []

    load_photos(DataConfig(root=str(tmp_path)), 0, lambda done, total: messages.append((done, total)))

    assert messages == [(number, 8) for number in range(1, 9)]
