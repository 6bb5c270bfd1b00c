"""The folder of an evaluation, and how an earlier one is replaced as a whole."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from classifier_training.errors import RunError
from classifier_training.files.text import exists
from classifier_training.run.folder import RunFolder, ScoredFolder
from classifier_training.run.tree import entries_of
from classifier_training.types import SPLITS

_MAX_NAME: Final = 80
_WRITTEN: Final = frozenset({"report.html", *(entry.path.rstrip("/") for entry in entries_of(ScoredFolder))})


def check_folder(path: Path) -> None:
    """Refuses a folder into which an evaluation cannot or should not be written, before the model is scored.

    Raises:
        RunError: It holds something else, belongs to a run, or cannot be created.
    """
    path = path.expanduser().resolve()
    if exists(path) and not path.is_dir():
        raise RunError(f"{path} is a file; name a folder for the evaluation, new or of an earlier one")
    is_a_split = path.name in SPLITS and RunFolder(path.parent).config.is_file()
    if is_a_split or RunFolder(path).config.is_file():
        raise RunError(f"{path} belongs to a run; name another folder for the evaluation")
    if path.is_dir():
        _check_is_an_evaluation(path)
    above = next(folder for folder in path.parents if exists(folder))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        reason = "it is not writable" if above.is_dir() else "it is a file"
        raise RunError(f"cannot create a folder in {above}: {reason}; name another one")


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder that replaces ``path``, see `check_folder`, when the block ends without an error.

    When the block raises, the new folder is removed and ``path`` stays as it was.
    """
    path = path.expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # in the same folder, so that it is renamed and not copied
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as parent:
        new = Path(parent) / "new"
        new.mkdir()
        yield new
        if path.is_dir():
            _check_is_an_evaluation(path)  # the model may have been scored for hours
            path.rename(Path(parent) / "old")
        try:
            new.rename(path)
        except OSError:
            if (Path(parent) / "old").is_dir():
                (Path(parent) / "old").rename(path)
            raise


def make_free_folder(parent: Path, name: str) -> Path:
    """Creates a new, empty folder: ``name``, or ``name-2``, ``name-3`` … where that is taken.

    Characters that file names should not have become ``-``.
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
            f"{path} is not empty and not the folder of an evaluation ({holds}), so it is not replaced;"
            " name another one"
        )
