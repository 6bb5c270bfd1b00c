"""One rule for a folder on a disk and one at an address: every layout is listed from each, and compared."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from tests.helpers.photos import make_photo, make_photos, make_split_photos, photo_rows, write_table
from tests.helpers.shards import write_hub_parquet, write_shard
from tests.helpers.web import serve

from classifier_training.data.sources.detect import list_photos
from classifier_training.data.sources.table import Columns
from classifier_training.errors import DataError


def _files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("no image")
    return root


def _hub_splits(root: Path) -> None:
    for split in ("train", "test"):
        rows = [{"file_name": str(row["image"]), "label": row["label"]} for row in photo_rows(root / split, "abab")]
        write_table(root / split / "metadata.jsonl", rows)


def _hub_root(root: Path) -> None:
    rows = []
    for number, split in enumerate(("train", "train", "validation", "test")):
        make_photo(root / split / f"{number}.png", number)
        rows.append({"file_name": f"{split}/{number}.png", "label": "ab"[number % 2]})
    write_table(root / "metadata.csv", rows)


def _competition(root: Path) -> None:
    for number in range(6):
        make_photo(root / ("train" if number < 4 else "test") / f"img_{number}.png", number)
    write_table(root / "train.csv", [{"image": f"img_{n}", "label": "ab"[n % 2]} for n in range(4)])
    write_table(root / "test.csv", [{"image": "img_4"}, {"image": "img_5"}])


def _windows(root: Path) -> None:
    write_table(root / "annotations.csv", [
        {"image": str(row["image"]).replace("/", "\\"), "label": row["label"]} for row in photo_rows(root, "abab")
    ])  # fmt: skip


LAYOUTS: dict[str, Callable[[Path], object]] = {
    "classes": lambda root: make_photos(root, {"a": 2, "b": 1, "c/deep/er": 1, "empty": 0}),
    "classes called like splits": lambda root: make_photos(root, {"train": 2, "plane": 1, "test": 1}),
    "other files": lambda root: (
        make_photos(root, {"a": 1, "b": 1}), _files(root, "a/notes.txt", "b/x.TXT", "b/README"),
        make_photo(root / "s.png", 7),
    ),
    "splits": lambda root: make_split_photos(root, 2, 1, 1),
    "splits with images in them": lambda root: (
        make_split_photos(root, 2, 1, 0), make_photo(root / "train" / "stray.png", 90), make_photo(root / "s.JPG", 91)
    ),
    "what systems leave behind": lambda root: (
        make_photos(root, {"a": 2, "b": 1, "b/@eaDir": 2, "__MACOSX/a": 1, "lost+found": 1, "a/.ipynb_checkpoints": 1}),
        _files(root, "a/Thumbs.db", "b/._0.png"),
    ),
    "splits on a Synology": lambda root: (
        make_split_photos(root, 1, 1, 1), make_photos(root, {"@eaDir/cat": 1, "train/@eaDir": 1, "#recycle/dog": 1}),
    ),
    "an unlabelled test": lambda root: make_photos(root, {"Train/a": 1, "Train/b": 1, "valid/a": 1, "test": 2}),
    "an empty split": lambda root: (make_photos(root, {"train/a": 1, "train/b": 1}), _files(root, "val/.keep")),
    "two that could be a split": lambda root: make_photos(root, {"train/a": 1, "val/a": 1, "valid/a": 1}),
    "splits without classes": lambda root: make_photos(root, {"train": 2, "test": 2}),
    "nothing": lambda root: _files(root, "README.md"),
    "images only": lambda root: make_photo(root / "a.png", 0),
    "annotations": lambda root: write_table(root / "annotations.csv", photo_rows(root, "abab")),
    "two annotations": lambda root: _files(root, "annotations.csv", "annotations.jsonl"),
    "annotations a split": lambda root: [
        write_table(root / split / "annotations.jsonl", photo_rows(root / split, "ab")) for split in ("train", "val")
    ],
    "annotations in one split": lambda root: (
        make_split_photos(root, 1, 1, 0),
        write_table(root / "train" / "annotations.csv", [{"image": "x", "label": "c"}]),
    ),
    "the hub's table in each split": _hub_splits,
    "the hub's table": _hub_root,
    "the hub's table without labels": lambda root: (
        make_photos(root, {"a": 1, "b": 1}), write_table(root / "metadata.csv", [{"file_name": "a/0.png", "text": "x"}])
    ),
    "a competition": _competition,
    "a competition and classes": lambda root: (
        make_split_photos(root, 1, 1, 0), write_table(root / "train.csv", [{"image": "x.png", "label": "a"}])
    ),
    "paths of Windows": _windows,
    "a wrapper": lambda root: (
        make_photos(root, {"set/a": 1, "set/b": 1, "docs": 0}), _files(root, "docs/x.txt", "x.md")
    ),
    "a wrapper of splits": lambda root: make_split_photos(root / "my" / "set", 1, 1, 1),
    "a wrapper in each split": lambda root: (
        make_photos(root, {"train/photos/a": 1, "train/photos/b/deep": 1, "train": 1, "val/p/q/a": 1, "val/docs": 0}),
        _files(root, "val/docs/x.txt", "train/photos/@eaDir/x.png"),
    ),
    "a wrapper in each split with a table": lambda root: [
        write_table(root / split / "set" / "annotations.csv", photo_rows(root / split / "set", "ab"))
        for split in ("train", "val")
    ],
    "a table without labels in a split": lambda root: (
        make_split_photos(root, 1, 1, 0),
        write_table(root / "train" / "metadata.csv", [{"file_name": "cat/0.png", "text": "x"}]),
    ),
    "words of splits": lambda root: make_photos(root, {"Training/a": 1, "Training/b": 1, "Test/a": 1, "x/b": 1}),
    "splits in classes": lambda root: make_photos(root, {"a/train": 1, "a/val": 1, "b/train": 1, "b/val": 1}),
    "several sets": lambda root: (make_split_photos(root / "v1", 1, 1, 0), make_split_photos(root / "v2", 1, 1, 0)),
    "one class": lambda root: make_photos(root, {"a": 2}),
    "a table of another name": lambda root: write_table(root / "labels.csv", photo_rows(root, "abab")),
    "shards": lambda root: [write_shard(root / f"{split}-0.tar", ["a", "b"]) for split in ("train", "val")],
    "parquet": lambda root: write_hub_parquet(root / "data" / "train-0.parquet", [0, 1], names=["a", "b"]),
    "names that look alike": lambda root: make_photos(root, {"Cat": 1, "cat": 1, "caf\u00e9": 1, "dog ": 1}),
}  # fmt: skip


def outcome(root: str, cache: Path, shown: str) -> object:
    """What a listing gives, without the places; or the message."""
    try:
        listing = list_photos(root, cache=cache)
    except DataError as error:
        return str(error).replace(shown, "ROOT")
    rows = listing.rows
    return (
        listing.layout,
        [(s.label, s.image.read()) for split in (None, "train", "val", "test") for s in listing.samples(split)],
        rows.column("split").to_pylist(),
        {split: place.replace(shown, "ROOT") for split, place in listing.locations.items()},
        [
            warning.replace(shown, "ROOT").replace("%20", " ").replace("%C3%A9", "\u00e9")
            for warning in listing.warnings
        ],
    )


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_on_a_disk_and_at_an_address_are_the_same(tmp_path: Path, name: str) -> None:
    root = tmp_path / "set"
    root.mkdir()
    LAYOUTS[name](root)
    memory = fsspec.filesystem("memory")
    place = f"/layouts/{name.replace(' ', '_')}"
    for path in root.rglob("*"):
        if path.is_dir():
            memory.makedirs(f"{place}/{path.relative_to(root).as_posix()}", exist_ok=True)
        else:
            memory.pipe(f"{place}/{path.relative_to(root).as_posix()}", path.read_bytes())
    disk = outcome(str(root), tmp_path / "cache", str(root))

    with serve(root) as web:
        assert outcome(web.address, tmp_path / "cache", web.address) == disk
    assert outcome(f"memory://{place}", tmp_path / "cache", f"memory://{place}") == disk


def test_the_only_folder_of_images_is_entered_unless_it_is_a_class(tmp_path: Path) -> None:
    make_photos(tmp_path / "root", {"set/a": 1, "set/b": 1})
    (tmp_path / "root" / "docs").mkdir()

    listing = list_photos(tmp_path / "root")
    of_a_model = list_photos(tmp_path / "root", classes=("set", "other"))

    assert {sample.label for sample in listing.samples()} == {"a", "b"}
    assert listing.warnings[0] == (
        f"the photos are read from {tmp_path}/root/set, the only folder of images in {tmp_path}/root"
    )
    assert {sample.label for sample in of_a_model.samples()} == {"set"}


def test_what_is_not_clear_names_the_words_to_type(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        make_split_photos(tmp_path / "sets" / version, 1, 1, 0)
    with pytest.raises(DataError, match=rf"own \(v1, v2\).*classifier-training train {tmp_path}/sets/v1$"):
        list_photos(tmp_path / "sets")

    write_table(tmp_path / "flat" / "labels.csv", photo_rows(tmp_path / "flat", "ab"))
    with pytest.raises(DataError, match=rf"a table; .*: classifier-training train {tmp_path}/flat/labels\.csv$"):
        list_photos(tmp_path / "flat")

    make_split_photos(tmp_path / "both", 1, 1, 0)
    write_table(tmp_path / "both" / "train.csv", [{"image": "x.png", "label": "a"}])
    assert list_photos(tmp_path / "both").warnings == [
        (
            f"{tmp_path}/both/train.csv is not read, the folders give the labels; to read it, name it:"
            f" classifier-training train {tmp_path}/both/train.csv"
        )
    ]


def test_the_hub_layouts_and_a_competition(tmp_path: Path) -> None:
    _hub_splits(tmp_path / "splits")
    _hub_root(tmp_path / "root")
    _competition(tmp_path / "competition")

    splits, root, competition = (list_photos(tmp_path / name) for name in ("splits", "root", "competition"))

    assert {split: splits.count(split) for split in splits.locations} == {"train": 4, "test": 4}
    assert {split: root.count(split) for split in root.locations} == {"train": 2, "val": 1, "test": 1}
    assert [os.path.relpath(s.path, tmp_path) for s in competition.samples()] == [
        f"competition/train/img_{number}.png" for number in range(4)
    ]
    assert competition.warnings == [
        f"the images of {tmp_path}/competition/train.csv are read from {tmp_path}/competition/train",
        (
            f"{tmp_path}/competition/test.csv has no column 'label'; its columns are 'image'; name the correct one with"
            " data.label_column; the table is left out"
        ),
    ]


def test_other_names_of_columns_in_a_competition(tmp_path: Path) -> None:
    make_photo(tmp_path / "train" / "7.png", 0)
    write_table(tmp_path / "train.csv", [{"Image": "7.png", "Id": "w"}])

    with pytest.raises(DataError, match=r"such as data\.image_column=Image data\.label_column=Id$"):
        list_photos(tmp_path)
    assert list_photos(tmp_path, Columns("Image", "Id")).samples()[0].path == str(tmp_path / "train" / "7.png")
