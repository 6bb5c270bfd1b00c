"""Scores as a table and as one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.metrics.scores import Scores
from classifier_training.terminal.terminal import Terminal

MOST_CLASSES: Final = 200
NUM_WEAKEST: Final = 40
"""Rows of the table where there are more classes than `MOST_CLASSES`."""


def show_scores(terminal: Terminal, scores: Scores, classes: Sequence[str], title: str) -> None:
    """Prints a table with one row per class; of many classes the weakest by F1 that have images."""
    named = list(zip(classes, scores.classes, strict=True))
    if len(named) > MOST_CLASSES:
        with_images = [one for one in named if one[1].support]
        named = sorted(with_images, key=lambda one: (one[1].f1 or 0, -one[1].support))[:NUM_WEAKEST]
        title = f"{title}: the {len(named)} weakest of {len(classes)} classes"
    rows = [[name, _share(row.precision), _share(row.recall), _share(row.f1), str(row.support)] for name, row in named]
    terminal.table(title, ["class", "precision", "recall", "F1", "images"], rows)


def summarise(scores: Scores) -> str:
    """The scores over all classes, in one line."""
    return "  ".join(f"{SCORE_TITLES[name]} {value:.4f}" for name, value in scores.by_name().items())


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"
