from __future__ import annotations

import pytest

from classifier_training.files.hidden import is_left_behind, is_skipped, skipped_notice


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "lost+found"],
)
def test_what_systems_leave_behind_is_skipped_and_named(name: str) -> None:
    assert is_skipped(name)
    assert skipped_notice("photos", [f"photos/{name}", f"photos/cat/{name}", "photos/.hidden"]) == [
        f"what systems and programs have left below photos is skipped: {name} (2)"
    ]


@pytest.mark.parametrize("name", ["eaDir", "recycle", "lost", "Thumbs.db", "cat.png"])
def test_other_names_are_not(name: str) -> None:
    assert not is_skipped(name)
    assert not is_left_behind(name)


def test_hidden_files_are_skipped_without_a_word() -> None:
    for name in (".git", ".ipynb_checkpoints", "._cat.jpg", ".DS_Store"):
        assert is_skipped(name)
        assert skipped_notice("photos", [f"photos/{name}"]) == []
