from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.cli.words import split_arguments


@pytest.mark.parametrize("words", [["shirts", "a.b=1", "c=2"], ["a.b=1", "shirts", "c=2"], ["a.b=1", "c=2", "shirts"]])
def test_the_folder_and_the_settings_stand_in_any_order(words: list[str]) -> None:
    assert split_arguments(words) == ("shirts", ["a.b=1", "c=2"])


def test_a_folder_may_have_an_equals_sign_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "size=64").mkdir()

    assert split_arguments(["size=64", "seed=1"]) == ("size=64", ["seed=1"])


def test_no_words() -> None:
    assert split_arguments(None) == (None, [])
