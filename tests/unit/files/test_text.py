from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.files.text import did_you_mean, plain_text


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


def test_an_unknown_user_has_no_similar_path() -> None:
    assert did_you_mean("~nosuchuser/photos") == ""
