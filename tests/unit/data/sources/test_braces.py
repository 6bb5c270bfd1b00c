from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.data.sources.braces import expand_braces, is_pattern
from classifier_training.errors import DataError


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
        ("s3://bucket/{a,b}?x={0..1}", ["s3://bucket/a?x=0", "s3://bucket/a?x=1", "s3://bucket/b?x=0", "s3://bucket/b?x=1"]),
    ],
)  # fmt: skip
def test_as_bash_does(pattern: str, expected: list[str]) -> None:
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
        ("{0..9999}{0..9999}", "stands for more than 1000000 files"),
    ],
)
def test_what_is_no_pattern(pattern: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        expand_braces(pattern)

    assert message in str(caught.value)


def test_a_folder_with_braces_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "{0..1}"

    assert is_pattern(str(folder))
    folder.mkdir()
    assert not is_pattern(str(folder))
    assert not is_pattern("photos")
