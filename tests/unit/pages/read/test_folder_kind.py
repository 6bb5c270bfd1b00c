from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.errors import RunError
from classifier_training.pages.read.folder_kind import is_evaluation


def test_runs_and_evaluations_are_distinguished(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "scores.json").touch()

    assert not is_evaluation(tmp_path / "run")
    assert is_evaluation(tmp_path / "evaluation")


@pytest.mark.parametrize("name", ["absent", "x" * 300, "empty"])
def test_other_folders_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(RunError):
        is_evaluation(tmp_path / name)
