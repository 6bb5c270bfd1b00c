"""The interface of a tracker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from classifier_training.config.schema import TrackingConfig
from classifier_training.run.folder import RunFolder
from classifier_training.tracking.memory import TrackerMemory
from classifier_training.tracking.values import Value


@dataclass(frozen=True, slots=True)
class TrackerContext:
    """What a tracker is made from.

    Attributes:
        run: The run, whose folder exists.
        settings: The settings by their dotted names.
        memory: Values of the processes before this one.
        tracking: Project, addresses and modes.
    """

    run: RunFolder
    settings: Mapping[str, Value]
    memory: TrackerMemory
    tracking: TrackingConfig


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
    """The file that a run was trained for, and the hash of its content."""

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

    Creating the object starts the run there, or resumes the one that an earlier process of this run has started.

    Attributes:
        message: How to open it.
    """

    message: str

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Logs the metrics of an epoch; those that a process sent before it was killed must not be there twice.

        Args:
            metrics: By name, such as ``val/top1``; possibly not finite.
            step: Optimizer steps so far.
        """

    def log_figures(self, figures: Sequence[Figure], step: int) -> None:
        """Logs the figures that have changed."""

    def log_scores(self, scores: Mapping[str, float], step: int) -> None:
        """Logs the final scores, such as ``test/top1``."""

    def log_model(self, model: ModelFile) -> None:
        """Logs the model and its hash."""

    def close(self, *, succeeded: bool) -> None:
        """Ends the run there.

        Args:
            succeeded: Whether the run is finished; otherwise it may be resumed.
        """
