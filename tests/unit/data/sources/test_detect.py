from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.helpers.photos import make_photo, make_photos, make_split_photos, photo_rows, write_table
from tests.helpers.web import serve

from classifier_training.data.sources.detect import list_photos, with_local_images
from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.sources.table import Columns
from classifier_training.errors import BadImageError, DataError
from classifier_training.imaging.decode import decode_image


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


def test_a_group_that_is_half_a_character_is_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations.jsonl").write_text(
        '{"image": "x.png", "label": "a", "who": "1"}\n{"image": "y.png", "label": "a", "who": "\\ud83d"}\n'
    )

    with pytest.raises(DataError, match=r"the group '\\ud83d' of .*y\.png is not Unicode text; rename it"):
        list_photos(tmp_path, Columns(group="who"))


def test_remote_images_become_local_ones(tmp_path: Path) -> None:
    served, cache = make_photos(tmp_path / "served", {"a": 2, "b c": 1}), tmp_path / "cache"
    messages: list[tuple[int, int]] = []
    with serve(served) as web:
        rows = RowWriter()
        rows.add(f"{web.address}/a", ["0.png", "1.png"], "x", split="train", weights=[1.0, 2.0])
        rows.add(str(served / "a"), ["0.png"], "y", split="val")
        rows.add(f"{web.address}/b%20c", ["0.png"], "z", split="train")
        rows.add("x.tar", ["k.png"], ["z"], offsets=[512], sizes=[9], split="train")
        listing = Listing("remote", rows.table(), {"train": "t", "val": "v"}, ["w"], ["f"])

        local = with_local_images(listing, cache, lambda done, total: messages.append((done, total)))
        again = with_local_images(listing, cache)

    samples = local.samples("train")
    paths = [served / "a" / "0.png", served / "a" / "1.png", served / "b c" / "0.png"]
    assert [sample.image.read() for sample in samples[:3]] == [path.read_bytes() for path in paths]
    assert all(Path(sample.image.path).is_relative_to(cache) for sample in samples[:3])
    assert str(samples[3].image) == "x.tar::k.png"
    assert local.samples("val")[0].image.path == str(served / "a" / "0.png")
    assert local.rows.drop_columns(["place", "name"]).equals(listing.rows.drop_columns(["place", "name"]))
    assert (local.layout, local.locations, local.warnings, local.watched) == (
        "remote", {"train": "t", "val": "v"}, ["w"], ["f"],
    )  # fmt: skip
    assert again.rows.equals(local.rows)
    assert sum(web.gets.values()) == 3
    assert messages == [(1, 3), (2, 3), (3, 3)]


def test_local_listings_stay_as_they_are(tmp_path: Path) -> None:
    rows = RowWriter()
    rows.add("photos", ["s3:", "a::b"], "x")
    listing = Listing("local", rows.table())

    assert with_local_images(listing, tmp_path / "cache") is listing
    nothing = Listing("nothing", RowWriter().table())
    assert with_local_images(nothing, tmp_path / "cache") is nothing


def test_an_image_that_does_not_exist_keeps_its_address(tmp_path: Path) -> None:
    with serve(make_photos(tmp_path / "served", {"a": 1})) as web:
        rows = RowWriter()
        rows.add(f"{web.address}/a", ["gone.png", "0.png"], "x")

        samples = with_local_images(Listing("remote", rows.table()), tmp_path / "cache").samples()

    assert os.path.exists(samples[1].path)  # noqa: PTH110 - a record's path is text
    with pytest.raises(BadImageError, match=rf"^cannot read {web.address}/a/gone\.png: no such file or directory$"):
        decode_image(samples[0].image)


def test_an_image_that_may_not_be_read_stops_it(tmp_path: Path) -> None:
    with serve(make_photos(tmp_path / "served", {"a": 1})) as web:
        web.failures["/a/0.png"] = [403] * 5
        rows = RowWriter()
        rows.add(f"{web.address}/a", ["0.png"], "x")

        with pytest.raises(DataError, match=r"0\.png: it may not be read"):
            with_local_images(Listing("remote", rows.table()), tmp_path / "cache")
