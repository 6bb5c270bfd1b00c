from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from classifier_training.run import records
from classifier_training.run.records import (
    FORMAT,
    Count,
    DamagedFileError,
    Format,
    Interval,
    Items,
    Number,
    Share,
    read_record,
    read_table,
    write_record,
)


@dataclass(frozen=True, slots=True)
class Bin:
    count: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    format: Format = FORMAT
    name: str = field(metadata={"alias": "class"})
    bins: Items[Bin] = ()
    number: Number | None = None

    def __post_init__(self) -> None:
        if self.number == 13:
            raise ValueError("has an unlucky number")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    thing = Thing(name="a", bins=(Bin(3), Bin(0)), number=1)

    write_record(tmp_path / "thing.json", thing)

    assert read_record(tmp_path / "thing.json", Thing) == thing
    assert json.loads((tmp_path / "thing.json").read_text()) == {
        "format": 1,
        "class": "a",
        "bins": [{"count": 3}, {"count": 0}],
        "number": 1,
    }


def test_keys_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    assert read_record(write(tmp_path / "one.json", '{"class": "a", "new": [1]}'), Thing) == Thing(name="a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON, perhaps half of it is lost"),
        ('{"class": "a"', "is not valid JSON"),
        ('{"class": "\\ud800"}', "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"class": "a", "number": ' + "1" * 10_000 + "}", "is not valid JSON"),
        ("[]", "has a list: input should be an object"),
        ("{}", "has no class"),
        ('{"format": 2}', "is of format 2, and this version reads format 1"),
        ('{"format": "1", "class": "a"}', 'is of format "1", and this version reads format 1'),
        ('{"class": "a", "bins": [{"count": 1}, {"count": -1}]}', "has -1 as bins.1.count: input should be greater"),
        ('{"class": "a", "bins": [{"count": "%s"}]}' % ("x" * 100), 'has "x{39}… as bins.0.count: input should be'),
        ('{"class": "a", "number": 1e400}', "has Infinity as number: input should be a finite number"),
        ('{"class": "a", "number": 13}', "has an unlucky number"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DamagedFileError, match=message) as caught:
        read_record(write(tmp_path / "one.json", text), Thing)
    assert len(str(caught.value)) < 200


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_BYTES", 10)

    with pytest.raises(DamagedFileError, match="has 26 bytes, and at most 10 are read"):
        read_record(write(tmp_path / "huge.json", '{"class": "aaaaaaaaaaaaa"}'), Thing)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no such files")
def test_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        read_record(tmp_path, Thing)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Number, ["0", "-1.5", "1" + "0" * 20], ["null", "true", '"1"', "NaN", "Infinity", "1" + "0" * 400]),
        (Share, ["0", "1", "0.5"], ["-0.1", "1.1", "null", "NaN"]),
        (Count, ["0", str(2**62)], ["-1", "1.0", "true", str(2**63), "null"]),
        (Interval, ["[0, 1]", "[0.5, 0.5]"], ["[1, 0]", "[0]", "[0, 2]", '"01"', "[null, 1]"]),
        (Items[Count], ["[]", "[0]"], ["[-1]", "[true]", "null", "{}"]),
        (Items[str], ["[]", '["a"]'], ["[1]", "null"]),
    ],
)
def test_values_are_checked_for_their_type(kind: Any, good: list[str], bad: list[str]) -> None:
    adapter = TypeAdapter[Any](kind)
    for text in good:
        adapter.validate_json(text, strict=True)
    for text in bad:
        with pytest.raises(ValidationError):
            adapter.validate_json(text, strict=True)


def test_a_huge_table_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_BYTES", 10)
    path = write(tmp_path / "huge.csv", "epoch\n" + "1\n" * 10)

    with pytest.raises(DamagedFileError, match="has 26 bytes"):
        list(read_table(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n1\n", "1 cells in line 2"),
        ('a\n"1\n', "not a CSV table"),
        ("a\n" + "x" * 200_000, "limit"),
    ],
)
def test_a_table_is_whole_or_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DamagedFileError, match=message):
        list(read_table(write(tmp_path / "one.csv", text)))
