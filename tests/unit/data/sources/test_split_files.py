from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from classifier_training.data.sources.split_files import SplitFiles, entries, find_split_files, name_of, parent_of
from classifier_training.errors import DataError


def find(root: str | Path) -> SplitFiles | None:
    def choose(files: Sequence[str], folders: Sequence[str]) -> list[str]:
        return [] if folders else [file for file in files if file.endswith(".x")]

    return find_split_files(str(root), ".x", choose)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.x", "train"), ("train-00000-of-00002.x", "train"), ("TRAIN_1.x", "train"), ("train1.x", "train"),
        ("val-1.x", "val"), ("valid.x", "val"), ("validation-00.x", "val"), ("test-1.x", "test"),
        ("trainer-1.x", None), ("1-train.x", "train"), ("1-test.x", None), ("training.x", None), ("0.x", None),
    ],
)  # fmt: skip
def test_splits_in_names(tmp_path: Path, name: str, split: str | None) -> None:
    found = find(touch(tmp_path, name))

    assert found is not None
    assert found.all() == [(split, str(tmp_path / name))]


def test_files_are_in_order_and_hidden_ones_are_not_there(tmp_path: Path) -> None:
    found = find(touch(tmp_path, "val-2.x", "train-10.x", "train-9.x", ".train-0.x", "notes.txt"))

    assert found is not None
    assert [name_of(file) for _, file in found.all()] == ["train-10.x", "train-9.x", "val-2.x"]
    assert found.watched_folders() == [str(tmp_path)]


def test_nothing_of_the_kind(tmp_path: Path) -> None:
    assert find(touch(tmp_path, "a.y")) is None
    assert find(tmp_path / "a.y") is None
    assert find(tmp_path / "nowhere") is None


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^1 of the 1 files of {tmp_path}/a\.x are missing: {tmp_path}/a\.x$"):
        find(tmp_path / "a.x")


def test_a_folder_named_like_a_file(tmp_path: Path) -> None:
    found = find(touch(tmp_path / "all.x", "train.x"))

    assert found is not None
    assert found.splits == {"train": [str(tmp_path / "all.x" / "train.x")]}


def test_a_pattern_over_folders(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.x", "b/1.x")

    found = find(tmp_path / "{a,b}" / "1.x")

    assert found is not None
    assert found.folder == str(tmp_path / "a")
    assert len(found.all()) == 2


def test_paths_and_addresses() -> None:
    assert (name_of("/a/b.x"), parent_of("/a/b.x")) == ("b.x", "/a")
    assert (name_of("http://h/a%20b.x"), parent_of("s3://b/c/d.x")) == ("a b.x", "s3://b/c")


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^cannot read the folder {tmp_path}/x: No such file or directory$"):
        entries(str(tmp_path / "x"))
