from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.files.nearest import did_you_mean


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
