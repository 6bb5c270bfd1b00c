"""What a tracker is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Figure:
    """An image of the run folder.

    Attributes:
        name: Its path in the run folder without ``.png``, such as ``val/confusion_matrix``; the same in all trackers.
        png: The content of the file.
        sha256: Its hash.
    """

    name: str
    png: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The file that a run was trained for.

    Attributes:
        path: Where it lies.
        sha256: The hash of its content.
    """

    path: Path
    sha256: str


def model_file(path: Path) -> ModelFile:
    """A file with its hash.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as content:
        return ModelFile(path, hashlib.file_digest(content, "sha256").hexdigest())


class Tracker(Protocol):
    """One run in one tracker; every method may raise and may take its time, since `TrackerThread` calls them.

    Making the object begins the run there, or goes on with the one that an earlier process of this run has begun.

    Attributes:
        message: Where to look, for a person.
    """

    message: str

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Takes the metrics of an epoch; what came from a process that was killed before must not be there twice.

        Args:
            metrics: By name, such as ``val/top1``; perhaps not finite.
            step: Optimizer steps until then.
        """

    def log_figures(self, figures: Sequence[Figure], step: int) -> None:
        """Takes the figures that have changed."""

    def log_scores(self, scores: Mapping[str, float], step: int) -> None:
        """Takes the final scores, such as ``test/top1``."""

    def log_model(self, model: ModelFile) -> None:
        """Takes the model and its hash."""

    def close(self, *, succeeded: bool) -> None:
        """Ends the run there.

        Args:
            succeeded: Whether it came to its end; otherwise it may be resumed.
        """
