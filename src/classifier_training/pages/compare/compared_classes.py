"""The recall of each class in several runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from classifier_training.metrics.intervals import Interval
from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.compare.compared_runs import ComparedRun, ComparedRuns
from classifier_training.results.scores_file import ClassRow


@dataclass(frozen=True, slots=True)
class ComparedRecall:
    """The recall of a class in one run.

    Attributes:
        recall: None where the class has no image, or the run does not know it.
        interval: Low and high end, or None.
        difference: To the best run; None for that itself, and where either has no recall.
        support: Number of images; None where the run does not know the class.
    """

    recall: float | None
    interval: Interval | None
    difference: float | None
    support: int | None

    @property
    def written_difference(self) -> str:
        """In percentage points, with its sign."""
        return "" if self.difference is None else f"{100 * self.difference:+.1f}".replace("-", "−")


def compared_classes(compared: ComparedRuns) -> dict[str, Any] | None:
    """The runs that have scores, the best first, and a row for each class; None where fewer than two have scores."""
    scored = [run for run in compared.runs if run.scored is not None]
    if len(scored) < 2 or compared.best is None:
        return None
    shown = [compared.best, *(run for run in scored if run is not compared.best)]
    rows = [_by_name(run) for run in shown]
    names = dict.fromkeys(name for one in rows for name in one)
    return {
        "labels": [run.label for run in shown],
        "rows": [_row(name, [one.get(name) for one in rows]) for name in names],
    }


def _by_name(run: ComparedRun) -> dict[str, ClassRow]:
    return {} if run.scored is None else {row.name: row for row in run.scored.per_class}


def _row(name: str, rows: list[ClassRow | None]) -> dict[str, Any]:
    best = None if rows[0] is None else rows[0].recall
    cells = [
        ComparedRecall(
            recall=None if row is None else row.recall,
            interval=None if row is None else row.recall_interval,
            difference=None if index == 0 or row is None or row.recall is None or best is None else row.recall - best,
            support=None if row is None else row.support,
        )
        for index, row in enumerate(rows)
    ]
    known = [cell.recall for cell in cells if cell.recall is not None]
    supports = sorted({cell.support for cell in cells if cell.support is not None})
    return {
        "name": one_line(name),
        "cells": cells,
        "support": " / ".join(f"{number:,}" for number in supports),
        "most": supports[-1] if supports else None,
        "spread": max(known) - min(known) if len(known) > 1 else None,
    }
