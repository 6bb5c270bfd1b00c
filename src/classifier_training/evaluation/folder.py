"""Where an evaluation is written, and how an earlier one is replaced as a whole."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from classifier_training.errors import RunError
from classifier_training.run.folder import RunFolder, ScoredFolder
from classifier_training.run.tree import entries_of
from classifier_training.types import SPLITS

_MAX_NAME: Final = 80
_REPORT: Final = "report.html"
_WRITTEN: Final = frozenset({_REPORT, *(entry.path.rstrip("/") for entry in entries_of(ScoredFolder))})


def check_folder(path: Path) -> None:
    """Refuses a folder into which no evaluation could or should be written, before the model is scored.

    Raises:
        RunError: It holds something else, belongs to a run, or cannot be made.
    """
    path = path.expanduser().resolve()
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; name a folder for the evaluation, new or of an earlier one")
    is_a_split = path.name in SPLITS and RunFolder(path.parent).config.is_file()
    if is_a_split or RunFolder(path).config.is_file():
        raise RunError(f"{path} belongs to a run; name another folder for the evaluation")
    if path.is_dir():
        _check_is_an_evaluation(path)
    above = next(folder for folder in path.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        reason = "it may not be written" if above.is_dir() else "it is a file"
        raise RunError(f"cannot make a folder in {above}: {reason}; name another one")


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder beside ``path`` that takes its place when the block ends well.

    When the block raises, the new folder is removed and what was at ``path`` stays.

    Args:
        path: A folder that `check_folder` accepts.
    """
    path = path.expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # made beside its place, so that it is renamed and not copied
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:
        made = Path(beside) / "new"
        made.mkdir()
        yield made
        if path.is_dir():
            _check_is_an_evaluation(path)  # the model may have been scored for hours
            path.rename(Path(beside) / "old")
        try:
            made.rename(path)
        except OSError:
            if (Path(beside) / "old").is_dir():
                (Path(beside) / "old").rename(path)
            raise


def make_free_folder(parent: Path, name: str) -> Path:
    """Makes a new, empty folder: ``name``, or ``name-2``, ``name-3`` … where that is taken.

    Args:
        parent: Where it lies; it is made.
        name: Any text; what no plain file name has becomes ``-``.
    """
    stem = re.sub(r"[^\w.+=@ -]", "-", name)[:_MAX_NAME].strip(" .") or "photos"
    parent.mkdir(parents=True, exist_ok=True)
    candidate, number = parent / stem, 1
    while True:
        try:
            candidate.mkdir()
        except FileExistsError:
            number += 1
            candidate = parent / f"{stem}-{number}"
        else:
            return candidate


def _check_is_an_evaluation(path: Path) -> None:
    entries = {entry.name for entry in path.iterdir()}
    if not entries:
        return
    foreign = sorted(entries - _WRITTEN)
    if foreign or ScoredFolder(path).scores.name not in entries:
        holds = f"it holds {foreign[0]!a}" if foreign else f"it has no {ScoredFolder(path).scores.name}"
        raise RunError(
            f"{path} is not empty and no folder of an evaluation ({holds}), so it is not replaced; name another one"
        )
