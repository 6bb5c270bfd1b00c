from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from classifier_training.data.sources.locations import entries, name_of, parent_of
from classifier_training.data.sources.split_files import SplitFiles, expand_braces, find_split_files
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


def test_files_are_in_order_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a", ["a"]),
        ("{0..2}", ["0", "1", "2"]),
        ("{2..0}", ["2", "1", "0"]),
        ("x-{008..010}.tar", ["x-008.tar", "x-009.tar", "x-010.tar"]),
        ("{1..010}", [f"{number:03d}" for number in range(1, 11)]),
        ("{0..0}", ["0"]),
        ("{train,val}/{0..1}.tar", ["train/0.tar", "train/1.tar", "val/0.tar", "val/1.tar"]),
        ("a{,b}", ["a", "ab"]),
        ("{a..c}", ["a", "b", "c"]),
        ("{00..10..5}", ["00", "05", "10"]),
        (r"C:\{a,b}", [r"C:\a", r"C:\b"]),
        ("s3://bucket/{a,b}?x={0..1}", ["s3://bucket/a?x=0", "s3://bucket/a?x=1", "s3://bucket/b?x=0", "s3://bucket/b?x=1"]),
    ],
)  # fmt: skip
def test_braces_are_expanded_as_bash_does(pattern: str, expected: list[str]) -> None:
    assert expand_braces(pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{a}", "{a} is neither a range such as {000..009} nor a list such as {a,b}"),
        ("{0..}", "{0..} is neither a range"),
        ("{}", "{} is neither a range"),
        ("{a,{b,c}}", "has braces in braces, or one alone"),
        ("{0..1", "has braces in braces, or one alone"),
        ("x}{0..1}", "has braces in braces, or one alone"),
        ("{0..9999999999}", "stands for more than 1000000 files"),
        ("a}b{0..1}c{", "has braces in braces, or one alone"),
        ("{0..999}" * 20, "stands for more than 1000000 files"),
        ("{0..9999}{0..9999}", "stands for more than 1000000 files"),
    ],
)
def test_braces_that_are_not_a_pattern(pattern: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        expand_braces(pattern)

    assert message in str(caught.value)
