from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.cli.arguments import split_arguments
from classifier_training.errors import ConfigError


@pytest.mark.parametrize("words", [["shirts", "a.b=1", "c=2"], ["a.b=1", "shirts", "c=2"], ["a.b=1", "c=2", "shirts"]])
def test_the_folder_and_the_settings_stand_in_any_order(words: list[str]) -> None:
    assert split_arguments(words) == (["shirts"], ["a.b=1", "c=2"])


def test_a_folder_may_have_an_equals_sign_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "size=64").mkdir()

    assert split_arguments(["size=64", "seed=1"]) == (["size=64"], ["seed=1"])


def test_no_arguments() -> None:
    assert split_arguments(None) == ([], [])


def test_an_address_with_an_equals_sign_is_a_path() -> None:
    assert split_arguments(["https://a.org/photos?version=3"]) == (["https://a.org/photos?version=3"], [])


def test_more_paths_than_a_command_takes_are_refused() -> None:
    assert split_arguments(["a", "b"], most=2) == (["a", "b"], [])
    with pytest.raises(ConfigError, match="one folder is expected, got 2: a, b; settings are key=value"):
        split_arguments(["a", "b"])
    with pytest.raises(ConfigError, match="at most 2 paths are expected, got 3: a, b, c"):
        split_arguments(["a", "b", "c"], most=2)
