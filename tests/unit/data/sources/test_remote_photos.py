from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from tests.helpers.photos import make_photos, make_split_photos, write_table
from tests.helpers.shards import write_hub_parquet, write_shard
from tests.helpers.web import WebFolder, serve

from classifier_training.data.sources.address import join
from classifier_training.data.sources.detect import list_source
from classifier_training.data.sources.folder_layout import FolderLayout
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.remote import fetch
from classifier_training.data.sources.table import Columns
from classifier_training.errors import DataError


@pytest.fixture
def served(tmp_path: Path) -> Path:
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def web(served: Path) -> Iterator[WebFolder]:
    with serve(served) as web:
        yield web


def images(listing: Listing, cache: Path) -> list[tuple[int, str, bytes]]:
    """Split, label and bytes of every image, which is fetched."""
    rows = listing.rows.to_pylist()
    assert all(row["offset"] is None for row in rows)
    return [
        (row["split"], row["label"], fetch(join(row["place"], row["name"]), cache).read_bytes()) for row in rows
    ]  # fmt: skip


def test_split_folders_with_class_folders(served: Path, cache: Path, web: WebFolder) -> None:
    make_split_photos(served / "my photos", 2, 1, 1)
    (served / "my photos" / "train" / "big cat").mkdir()
    (served / "my photos" / "train" / "big cat" / "notes.txt").touch()

    listing = list_source(f"{web.address}/my photos", FolderLayout(Columns(), cache))

    files = [
        (split, label, path)
        for split, name in enumerate(("train", "val", "test"))
        for label in ("cat", "dog")
        for path in sorted((served / "my photos" / name / label).iterdir())
    ]
    assert images(listing, cache) == [(split, label, path.read_bytes()) for split, label, path in files]
    assert listing.locations["val"] == f"{web.address}/my photos/val"
    assert listing.layout == "split folders (train, val, test) with one folder per class"
    assert listing.warnings == [
        f"class folder {web.address}/my photos/train/big%20cat holds no images; the class is left out",
        f"files below {web.address}/my photos/train that are not images are ignored: 1 × .txt",
    ]
    assert listing.watched == []


def test_class_folders_with_deeper_ones(served: Path, cache: Path, web: WebFolder) -> None:
    make_photos(served, {"train": 1, "Ünï #1/deep/er": 2, "Ünï #1": 1})
    messages: list[tuple[int, int]] = []

    layout = FolderLayout(Columns(), cache, progress=lambda done, total: messages.append((done, total)))
    listing = list_source(web.address, layout)

    assert listing.layout == "one folder per class, no splits"
    assert [label for _, label, _ in images(listing, cache)] == ["train", "Ünï #1", "Ünï #1", "Ünï #1"]
    assert messages == [(1, 2), (2, 2)]


def test_in_a_store(tmp_path: Path, cache: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in make_photos(tmp_path / "p", {"a": 1, "b": 2}).rglob("*.png"):
        memory.pipe(f"/test_in_a_store/{path.relative_to(tmp_path / 'p')}", path.read_bytes())

    listing = list_source("memory:///test_in_a_store", FolderLayout(Columns(), cache))

    assert [label for _, label, _ in images(listing, cache)] == ["a", "b", "b"]


def test_everything_that_may_lie_at_an_address(served: Path, cache: Path, web: WebFolder) -> None:
    write_shard(served / "shards" / "train-0.tar", ["cat"])
    write_hub_parquet(served / "hub" / "data" / "train-0.parquet", [0], names=["cat"])
    write_hub_parquet(served / "pictures.parquet", [0], names=["cat"])
    row = {"image": "x.png", "label": "cat"}
    for name in ("t.csv", "paths.parquet", "table/annotations.jsonl", "split/train/annotations.csv"):
        write_table(served / name, [row])
    layouts = {
        "shards": "1 tar shard (train)", "shards/train-0.tar": "1 tar shard (train)",
        "shards/train-{0..0}.tar": "1 tar shard (train)", "hub": "1 Parquet file of images (train)",
        "pictures.parquet": "1 Parquet file of images (no splits)", "t.csv": "table t.csv",
        "paths.parquet": "table paths.parquet", "table": "table annotations.jsonl",
        "split": "one table a split (train/annotations.csv)",
    }  # fmt: skip

    for name, layout in layouts.items():
        listing = list_source(f"{web.address}/{name}", FolderLayout(Columns(), cache))

        assert (listing.layout, listing.rows.num_rows) == (layout, 1)


def test_a_split_without_a_table(served: Path, cache: Path, web: WebFolder) -> None:
    write_table(served / "train" / "annotations.csv", [{"image": "x.png", "label": "cat"}])
    make_photos(served, {"val/cat": 1})

    with pytest.raises(
        DataError, match=rf"^{web.address}/val has no annotations file, but .* exists; add or remove one"
    ):
        list_source(web.address, FolderLayout(Columns(), cache))


def test_what_is_ambiguous(served: Path, cache: Path, web: WebFolder) -> None:
    make_photos(served, {"val/cat": 1, "valid/cat": 1})
    with pytest.raises(DataError, match="two folders that could both be the val split: val and valid; rename or"):
        list_source(web.address, FolderLayout(Columns(), cache))

    for name in ("annotations.csv", "annotations.jsonl"):
        (served / name).touch()
    with pytest.raises(DataError, match=r"has both annotations\.jsonl and annotations\.csv; keep one of them"):
        list_source(web.address, FolderLayout(Columns(), cache))


def test_a_missing_root(cache: Path, web: WebFolder) -> None:
    for name in ("nowhere", "nowhere.csv", "nowhere.tar", "nowhere.parquet"):
        with pytest.raises(DataError, match=rf"^cannot (list|fetch) {web.address}/{name}: it does not exist$"):
            list_source(f"{web.address}/{name}", FolderLayout(Columns(), cache))
