"""Whether a folder is a run or an evaluation: checked before the slow imports."""

from __future__ import annotations

from pathlib import Path

from classifier_training.errors import RunError
from classifier_training.run.folder import ScoredFolder, open_run


def is_evaluation(path: Path) -> bool:
    """Whether a folder holds an evaluation; otherwise it holds a run.

    Raises:
        RunError: The folder does not exist, or holds neither of them.
    """
    try:
        if ScoredFolder(path).scores.is_file():
            return True
        open_run(path)
    except OSError as error:  # a name that is too long, a folder of somebody else
        raise RunError(f"cannot read the run folder {path}: {error.strerror}") from None
    return False
