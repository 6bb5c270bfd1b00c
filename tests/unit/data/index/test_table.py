from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

from classifier_training.data.index import table as index_module
from classifier_training.data.index.check import Facts
from classifier_training.data.index.table import Index, RowRecords, listing_keys, write_index
from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.types import ImageRecord


def make_index(path: Path, num_files: int = 5, *, with_shard: bool = False) -> Index:
    writer = RowWriter()
    writer.add("/photos/b", [f"{number}.jpg" for number in range(num_files)], "b", split="train")
    writer.add("/photos/a", ["x.jpg"], "a", split="val", groups=["patient 1"], weights=[0.5])
    if with_shard:
        writer.add("/s/0.tar", ["k.jpg", "l.jpg"], ["a", "ü"], offsets=[512, 2048], sizes=[100, 50], split="test")
    facts = Facts.empty(writer.num_rows)
    facts.digests[:] = np.arange(writer.num_rows * 16).reshape(-1, 16) % 251
    facts.widths[:], facts.heights[:], facts.stamps[:], facts.modes[:] = 40, 30, 7, 2
    write_index(path, Listing("a layout", writer.table(), {"train": "/photos"}), facts, about="this")
    return Index(path)


def test_columns_are_those_that_were_written(tmp_path: Path) -> None:
    index = make_index(tmp_path / "index.arrow")

    assert len(index) == 6
    assert [index.label_names[code] for code in index.labels] == [*"bbbbb", "a"]
    assert index.splits.tolist() == [0, 0, 0, 0, 0, 1]
    assert index.digests.shape == (6, 16)
    assert index.digests[1].tolist() == list(range(16, 32))
    assert (index.widths.tolist(), index.heights.tolist()) == ([40] * 6, [30] * 6)
    assert index.modes.tolist() == [2] * 6
    assert index.groups() == [None] * 5 + ["patient 1"]
    assert np.array_equal(index.weights, [np.nan] * 5 + [0.5], equal_nan=True)  # type: ignore[arg-type]
    assert index.metadata["about"] == "this"
    assert index.metadata["places"] == {"train": "/photos"}


def test_columns_that_no_image_needs_are_not_stored(tmp_path: Path) -> None:
    writer = RowWriter()
    writer.add("/photos/a", ["x.jpg"], "a")
    write_index(tmp_path / "i.arrow", Listing("", writer.table()), Facts.empty(1))
    index = Index(tmp_path / "i.arrow")

    assert not {"offset", "size", "group", "weight"} & set(index.schema.names)
    assert index.groups() is None
    assert index.weights is None


def test_a_record_says_where_the_bytes_are(tmp_path: Path) -> None:
    index = make_index(tmp_path / "index.arrow", with_shard=True)

    assert index.record(2) == ImageRecord("/photos/b/2.jpg", stamp=7)
    assert index.record(6) == ImageRecord("/s/0.tar", 512, 100, "k.jpg", 7)
    assert str(index.record(7)) == "/s/0.tar::l.jpg"


def test_rows_beyond_one_batch_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "ROWS_PER_BATCH", 4)
    index = make_index(tmp_path / "index.arrow", 11)

    assert [Path(index.record(row).path).name for row in range(11)] == [f"{row}.jpg" for row in range(11)]
    assert index.record(11).path == "/photos/a/x.jpg"
    assert index.digests[7].tolist() == [value % 251 for value in range(112, 128)]
    assert len(index.labels) == len(index.stamps) == 12


def test_it_travels_as_its_path(tmp_path: Path) -> None:
    index = make_index(tmp_path / "index.arrow", 5000)
    records = RowRecords(index, np.arange(3, 5))

    travelled = pickle.dumps(records)

    assert len(travelled) < 1000
    assert list(pickle.loads(travelled)) == list(records)  # noqa: S301 - written one line above
    assert len(copy.deepcopy(index)) == len(index)


def test_records_of_some_rows(tmp_path: Path) -> None:
    records = RowRecords(make_index(tmp_path / "index.arrow"), np.array([4, 0, 2]))

    assert [Path(record.path).name for record in records] == ["4.jpg", "0.jpg", "2.jpg"]
    assert list(records[1:]) == [records[1], records[2]]
    assert len(records[::2]) == 2


def test_keys_are_the_same_for_the_listing_and_the_stored_index(tmp_path: Path) -> None:
    writer = RowWriter()
    writer.add("/photos/b", ["0.jpg"], "b")
    writer.add("/s/0.tar", ["k.jpg"], ["a"], offsets=[512], sizes=[10])
    listing = Listing("", writer.table())
    write_index(tmp_path / "i.arrow", listing, Facts.empty(2))

    keys = Index(tmp_path / "i.arrow").keys().to_pylist()

    assert keys == listing_keys(listing.rows).to_pylist()
    assert len(set(keys)) == 2


@pytest.mark.parametrize("content", [b"", b"no index", None])
def test_an_index_of_another_version(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "index.arrow"
    if content is None:
        make_index(path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(index_module, "FORMAT_VERSION", 99)
            with pytest.raises(ValueError, match="is an index of version 5, not 99"):
                Index(path)
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_bytes(content)

    with pytest.raises((ValueError, OSError)):
        Index(path)
