from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from classifier_training.pages.read import reading
from classifier_training.pages.read.reading import (
    DamagedFileError,
    Fields,
    Reader,
    plain_value,
    read_fields,
    read_json,
    read_rows,
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_each_file_that_gives_nothing_is_one_sentence(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    broken = write(tmp_path / "broken.json", "{")

    assert reader.read(tmp_path / "absent.json", read_json) is None
    assert reader.read(tmp_path / "absent.json", read_json, "nothing is shown") is None
    assert reader.read(broken, read_json) is None
    assert reader.read(write(tmp_path / "whole.json", "[1]"), read_json) == [1]

    assert reader.missing == [
        "absent.json is not there: nothing is shown",
        "broken.json is no JSON, perhaps half of it is lost; it is left out",
    ]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_somebody_else_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "secret.json", "[]")
    path.chmod(0)
    reader = Reader(tmp_path)

    assert reader.read(path, read_json) is None

    assert reader.missing == ["secret.json cannot be read: Permission denied; it is left out"]


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 10)
    path = write(tmp_path / "huge.csv", "epoch\n" + "1\n" * 10)

    with pytest.raises(DamagedFileError, match="has 26 bytes"):
        read_json(path)
    with pytest.raises(DamagedFileError, match="has 26 bytes"):
        list(read_rows(path))


@pytest.mark.parametrize(("text", "told"), [("[]", "holds a list"), ("{}", "null"), ('{"format": "1"}', '"1"')])
def test_only_this_format_is_read(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DamagedFileError, match=told):
        read_fields(write(tmp_path / "one.json", text))


@pytest.mark.parametrize(
    ("method", "good", "bad"),
    [
        ("text", ["", "a"], [None, 1, ["a"]]),
        ("number", [0, -1.5, 10**20], [None, True, "1", float("nan"), float("inf"), 10**400]),
        ("fraction", [0, 1, 0.5], [-0.1, 1.1, None]),
        ("fraction_or_none", [None, 1], [2, "0.5"]),
        ("count", [0, 2**62], [-1, 1.0, True, 2**63, None]),
        ("flag", [True, False], [None, 0, "true"]),
        ("interval_or_none", [None, [0, 1]], [[1, 0], [0], [0, 2], "01", [None, 1]]),
        ("items", [[], [None]], [None, {}, "a"]),
        ("texts", [[], ["a"]], [[1], None]),
        ("counts", [[0]], [[-1], [True], None]),
        ("numbers", [[0.5]], [["x"], [None]]),
        ("object", [{}], [[], None]),
        ("objects", [[{}]], [[1], None]),
    ],
)
def test_values_are_checked_for_their_type(method: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        getattr(Fields({"one": value}), method)("one")
    for value in bad:
        with pytest.raises(DamagedFileError, match="one"):
            getattr(Fields({"one": value}), method)("one")


def test_a_fault_tells_where_it_is() -> None:
    fields = Fields({"bins": [{"count": 1}, {"count": "x" * 100}]}).objects("bins")

    with pytest.raises(DamagedFileError, match=r'has "x{39}… as count of bins\[1\] where a whole number'):
        fields[1].count("count")


def test_no_value_keeps_a_page_from_being_written() -> None:
    value = plain_value({"\udcff": ["\ud800", float("nan"), {"a": float("inf")}, 1, None, True]})

    assert value == {"\\udcff": ["\\ud800", None, {"a": None}, 1, None, True]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("a,b\n1\n", "1 cells in line 2"),
        ('a\n"1\n', "not a CSV table"),
        ("a\n" + "x" * 200_000, "limit"),
    ],
)
def test_a_table_is_whole_or_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DamagedFileError, match=told):
        list(read_rows(write(tmp_path / "one.csv", text)))


def test_a_page_shows_no_password() -> None:
    assert plain_value({"root": ["s3://me:secret@host/photos"], "command": "train https://host/a?sig=abc&b=1"}) == {
        "root": ["s3://host/photos"],
        "command": "train https://host/a?sig=…&b=1",
    }
