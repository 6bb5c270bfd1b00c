"""Scores as a table and as one line of text."""

from __future__ import annotations

from collections.abc import Sequence

from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.metrics.scores import Scores
from classifier_training.terminal.terminal import Terminal


def show_scores(terminal: Terminal, scores: Scores, classes: Sequence[str], title: str) -> None:
    """Prints a table with one row per class."""
    rows = [
        [name, _share(row.precision), _share(row.recall), _share(row.f1), str(row.support)]
        for name, row in zip(classes, scores.classes, strict=True)
    ]
    terminal.table(title, ["class", "precision", "recall", "F1", "images"], rows)


def summarise(scores: Scores) -> str:
    """The scores over all classes, in one line."""
    return "  ".join(f"{SCORE_TITLES[name]} {value:.4f}" for name, value in scores.by_name().items())


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"
