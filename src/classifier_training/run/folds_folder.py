"""The folder of a cross-validation: a run for each fold, and their predictions taken together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from classifier_training.run.folder import RunFolder, ScoredFolder


@dataclass(frozen=True, slots=True)
class FoldsFolder:
    """The paths of a cross-validation; its root is the folder of an evaluation, of all photos, each by its own fold.

    Making the object touches no disk.
    """

    root: Path

    @property
    def settings(self) -> Path:
        """The settings that the folds were started with."""
        return self.root / "folds.yaml"

    @property
    def summary(self) -> Path:
        """The scores of each fold, and their means."""
        return self.root / "folds.json"

    @property
    def scored(self) -> ScoredFolder:
        """The prediction of every photo by the run that has not trained on it."""
        return ScoredFolder(self.root)

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / "report.html"

    def run(self, number: int | Literal["all"]) -> RunFolder:
        """The run of a fold, from 1, or that of the final model."""
        return RunFolder(self.root / ("final" if number == "all" else f"fold-{number}"))


def is_folds_folder(path: Path) -> bool:
    """Whether a folder is that of a cross-validation."""
    return FoldsFolder(path).settings.is_file()


def find_folds(resume: str | os.PathLike[str] | bool, parent: Path) -> FoldsFolder | None:
    """The cross-validation that a resume is about; None: it is about a run.

    Args:
        resume: A folder; True: what was started last.
        parent: The folder that holds all runs.
    """
    if not isinstance(resume, bool):
        return FoldsFolder(Path(resume)) if is_folds_folder(Path(resume)) else None
    parent = parent.expanduser()
    runs = [path.stat().st_mtime_ns for path in parent.glob("*/config.yaml")]
    started = {path.parent: path.stat().st_mtime_ns for path in parent.glob("*/folds.yaml")}
    latest = max(started, key=started.__getitem__, default=None)
    return None if latest is None or started[latest] < max(runs, default=0) else FoldsFolder(latest)
