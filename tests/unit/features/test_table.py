from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from classifier_training.data.cache.upkeep import cache_entries, photos_of, remove_entries
from classifier_training.features.table import DIGESTS_FILE, VALUES_FILE, FeatureTable

FORM = ("resnet", "hash", "centre")


def rows(count: int, first: int = 0, num_features: int = 3) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Content hashes and features of some images; those of an image follow from its number."""
    numbers = np.arange(first, first + count)
    digests = np.zeros((count, 16), np.uint8)
    digests[:, 0] = numbers
    digests[:, 15] = 7
    return digests, (numbers[:, None] + np.arange(num_features) / 10).astype(np.float32)


def test_what_was_added_is_found_by_its_hash(tmp_path: Path) -> None:
    table = FeatureTable(tmp_path, FORM, 3)
    assert table.find(rows(2)[0]).tolist() == [-1, -1]
    assert table.append(*rows(4))
    assert table.append(*rows(2, first=8))

    again = FeatureTable(tmp_path, FORM, 3)
    digests, values = rows(10)
    found = again.find(digests)
    assert found.tolist() == [0, 1, 2, 3, -1, -1, -1, -1, 4, 5]
    read, is_good = again.read(found[[8, 1]])
    assert is_good.all()
    np.testing.assert_array_equal(read, values[[8, 1]])


def test_rows_that_follow_each_other_are_memory_of_the_file(tmp_path: Path) -> None:
    table = FeatureTable(tmp_path, FORM, 3)
    table.append(*rows(5))
    read, is_good = table.read(np.array([1, 2, 3]))
    assert is_good.all()
    assert not read.flags.owndata
    assert not read.flags.writeable
    np.testing.assert_array_equal(read, rows(3, first=1)[1])


@pytest.mark.parametrize(("form", "num_features"), [((*FORM[:2], "augmented"), 3), (FORM, 4)])
def test_features_of_another_form_are_another_table(tmp_path: Path, form: tuple[str, ...], num_features: int) -> None:
    FeatureTable(tmp_path, FORM, 3).append(*rows(2))
    assert FeatureTable(tmp_path, form, num_features).find(rows(2)[0]).tolist() == [-1, -1]


@pytest.mark.parametrize("name", [DIGESTS_FILE, VALUES_FILE])
@pytest.mark.parametrize("cut", [1, 5])
def test_what_a_killed_process_left_half_written_counts_as_missing(tmp_path: Path, name: str, cut: int) -> None:
    table = FeatureTable(tmp_path, FORM, 3)
    table.append(*rows(3))
    path = table.folder / name
    path.write_bytes(path.read_bytes()[:-cut])

    digests, values = rows(3)
    found = table.find(digests)
    _, is_good = table.read(found[found >= 0])
    assert (found >= 0).sum() - (~is_good).sum() == 2
    table.append(digests[2:], values[2:])
    read, is_good = table.read(table.find(digests))
    assert is_good.all()
    np.testing.assert_array_equal(read, values)


def test_a_damaged_row_counts_as_missing_and_the_later_one_of_an_image_is_taken(tmp_path: Path) -> None:
    table = FeatureTable(tmp_path, FORM, 3)
    digests, values = rows(3)
    table.append(digests, values)
    content = bytearray((table.folder / VALUES_FILE).read_bytes())
    content[12] ^= 1
    (table.folder / VALUES_FILE).write_bytes(content)
    assert table.read(table.find(digests))[1].tolist() == [True, False, True]

    table.append(digests[1:2], values[1:2])
    assert table.find(digests).tolist() == [0, 3, 2]
    assert table.read(table.find(digests))[1].all()


def test_a_table_takes_no_more_than_the_limit(tmp_path: Path) -> None:
    table = FeatureTable(tmp_path, FORM, 3, limit=200)  # 36 bytes a row
    assert table.append(*rows(5))
    assert not table.append(*rows(1, first=5))
    assert FeatureTable(tmp_path, FORM, 3).find(rows(6)[0]).tolist() == [0, 1, 2, 3, 4, -1]


def test_the_cache_folder_lists_and_removes_features(tmp_path: Path) -> None:
    table = FeatureTable(tmp_path, FORM, 3, photos="/photos")
    table.append(*rows(5))
    (entry,) = cache_entries(tmp_path)
    assert (entry.kind, entry.path, entry.is_used) == ("features", table.folder, True)
    assert entry.num_bytes >= 5 * 36
    assert photos_of(tmp_path) == {table.folder: "/photos"}
    assert remove_entries(tmp_path, [entry]) == []
    table.bound()
    assert table.folder.exists()


def test_a_folder_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("")
    with pytest.raises(OSError, match="features") as raised:
        FeatureTable(tmp_path, FORM, 3)
    assert raised.value.errno in {errno.ENOTDIR, errno.EEXIST}
