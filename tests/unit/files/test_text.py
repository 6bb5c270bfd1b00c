from __future__ import annotations

import os
from pathlib import Path

import pytest

from classifier_training.files.text import (
    as_it_is,
    did_you_mean,
    plain_text,
    short_text,
    short_words,
    show_bytes,
    special_kind,
    why_no_file,
)


def test_bytes_of_a_file_name_that_are_not_utf8_become_escapes() -> None:
    assert plain_text("caf\udce9.jpg") == r"caf\udce9.jpg"
    assert plain_text("caf\u00e9 \u6625") == "caf\u00e9 \u6625"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "train").mkdir(parents=True)
    (tmp_path / "Shirts.csv").write_text("")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("photo", "photos"),
        ("photos/trian", "photos/train"),
        ("photo/train", "photos/train"),
        ("shirts.csv", "Shirts.csv"),
        ("./phtos/", "photos"),
    ],
)
def test_the_most_similar_existing_path_is_named(path: str, meant: str) -> None:
    assert did_you_mean(path) == f"; did you mean {meant}?"
    assert did_you_mean(Path(path).absolute()) == f"; did you mean {Path(meant).absolute()}?"


@pytest.mark.parametrize(
    "path", ["xyz", "photo/xyz", "photos/train/xyz", "xyz/photos", "Shirts.csv/a", "", "a\0b", "~/xyz"]
)
def test_nothing_is_named_where_nothing_is_similar(path: str) -> None:
    assert did_you_mean(path) == ""


@pytest.mark.parametrize("path", ["photos", "photos/train", "Shirts.csv", "FIFO.csv"])
def test_a_path_is_not_proposed_for_itself(path: str) -> None:
    os.mkfifo("FIFO.csv")
    assert did_you_mean(path) == ""
    assert did_you_mean(Path(path).absolute()) == ""


def test_what_is_there_instead_of_a_file() -> None:
    os.mkfifo("pipe.onnx")
    assert why_no_file("pipe.onnx", "none") == "cannot read pipe.onnx: it is a FIFO and not a plain file"
    assert why_no_file("/dev/null", "none") == "cannot read /dev/null: it is a device and not a plain file"
    assert why_no_file("photos", "none") == "cannot read photos: it is a folder and not a file"
    assert why_no_file("shirts.csv", "no file") == "no file; did you mean Shirts.csv?"
    assert as_it_is("pipe.onnx") == ": it is a FIFO and not a plain file"
    assert as_it_is("Shirts.csv") == ": it is a file"
    for path in ("a\0b", "x" * 5000, "Shirts.csv/a", "photos", "xyz"):
        assert special_kind(path) is None


def test_long_texts_lose_their_middle() -> None:
    assert short_text("x" * 300) == "x" * 300
    assert short_text("a" * 200 + "b" * 200) == "a" * 150 + "…" + "b" * 149
    assert short_text("abcdef", 3) == "a…f"
    line = f"cannot read {'d/' * 2000}cat.jpg: it is gone"
    assert short_words(line).startswith("cannot read d/d/")
    assert short_words(line).endswith("d/cat.jpg: it is gone")
    assert len(short_words(line)) < 330
    assert short_words("many short words " * 100) == "many short words " * 100


def test_an_unknown_user_has_no_similar_path() -> None:
    assert did_you_mean("~nosuchuser/photos") == ""


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (412_345_678_901, "412 GB"),
        (9_949_000_000, "9.9 GB"),
        (198_000_000, "0.2 GB"),
        (64_000_000, "64 MB"),
        (3_400_000, "3.4 MB"),
        (120_000, "0.1 MB"),
        (99_000, "99 kB"),
        (0, "0 kB"),
        (-5, "0 kB"),
    ],
)
def test_bytes_are_human_readable(num_bytes: int, text: str) -> None:
    assert show_bytes(num_bytes) == text
