from __future__ import annotations

import os
from pathlib import Path

import pytest

from classifier_training.pages.read.reading import Reader, plain_value
from classifier_training.run.environment import Environment


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_each_file_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    broken = write(tmp_path / "broken.json", "{")

    assert reader.record(tmp_path / "absent.json", Environment) is None
    assert reader.record(tmp_path / "absent.json", Environment, "nothing is shown") is None
    assert reader.record(broken, Environment) is None
    assert reader.record(write(tmp_path / "whole.json", '{"seed": 3}'), Environment) == Environment(seed=3)

    assert reader.missing == [
        "absent.json is missing: nothing is shown",
        "broken.json is not valid JSON, perhaps half of it is lost; it is left out",
    ]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "secret.json", "{}")
    path.chmod(0)
    reader = Reader(tmp_path)

    assert reader.record(path, Environment) is None

    assert reader.missing == ["secret.json cannot be read: Permission denied; it is left out"]


def test_no_value_keeps_a_page_from_being_written() -> None:
    value = plain_value({"\udcff": ["\ud800", float("nan"), {"a": float("inf")}, 1, None, True]})

    assert value == {"\\udcff": ["\\ud800", None, {"a": None}, 1, None, True]}


def test_a_page_shows_no_password() -> None:
    assert plain_value({"root": ["s3://me:secret@host/photos"], "command": "train https://host/a?sig=abc&b=1"}) == {
        "root": ["s3://host/photos"],
        "command": "train https://host/a?sig=…&b=1",
    }
