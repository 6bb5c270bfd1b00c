from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.config.flatten import flat_settings
from classifier_training.pages.read.run_settings import read_settings, setting, shell_command
from classifier_training.run.records import DamagedFileError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_of_any_version_are_read(tmp_path: Path) -> None:
    config = read_settings(
        write(tmp_path / "c.yaml", "seed: 3\nmodel: {name: '1e3', new: [1, null]}\nunknown: {a: b}\n")
    )

    assert flat_settings(config) == {"seed": 3, "model.name": "1e3", "model.new": [1, None], "unknown.a": "b"}
    assert setting(config, "model", "name") == "1e3"
    assert setting(config, "model", "absent") is None
    assert setting(config, "seed", "absent") is None


def test_a_small_file_cannot_become_a_huge_one(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]

    with pytest.raises(DamagedFileError, match="references"):
        read_settings(write(tmp_path / "c.yaml", "\n".join(lines)))


@pytest.mark.parametrize("text", ["", "[]", "a: [", "model: 3", "[" * 1000, "a: !!python/object:os.system x"])
def test_a_file_that_is_not_a_configuration_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DamagedFileError):
        read_settings(write(tmp_path / "c.yaml", text))


def test_words_of_a_command_are_quoted_where_they_must_be() -> None:
    assert shell_command("train", "a b", Path("x/y"), "it's", "a\nb") == "train 'a b' x/y 'it'\"'\"'s' $'a\\x0ab'"
