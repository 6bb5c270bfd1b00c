"""``compare.html``: several runs, or evaluations, side by side, and whether the better one really is better."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from classifier_training.metrics.intervals import Interval
from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.compare.compared_curves import compared_curves
from classifier_training.pages.compare.compared_runs import (
    ComparedRun,
    ComparedRuns,
    cannot_be_compared,
    conclusion,
    is_scored_alike,
    p_value,
)
from classifier_training.pages.compare.compared_settings import differing_settings, differing_surroundings
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.section import shown_scores_name
from classifier_training.pages.templating import render_page
from classifier_training.pages.wording import DASH, decimal, large_number, moment, percentage
from classifier_training.results.scores_file import ClassRow
from classifier_training.terminal.terminal import duration

MOST_CLASSES = 1_000  # of more of them the table has those whose recall differs most
NUM_DIFFERING = 200


class Cell(NamedTuple):
    """A cell of the table of all runs: its text, the value it is sorted by (None comes last), and a second line."""

    text: str
    value: float | None = None
    second: str = ""


_UNKNOWN = Cell(DASH)


def render_compare(compared: ComparedRuns) -> str:
    """The page of runs that were read with their predictions, as text; it needs no other file and no network."""
    runs = [run.data for run in compared.runs]
    values = {
        "title": f"{len(runs)} runs compared",
        "kind": "Comparison",
        "made": moment(datetime.now().astimezone()),
        "labels": [run.label for run in compared.runs],
        "conclusions": conclusions(compared),
        "cautions": cannot_be_compared(compared),
        "columns": COLUMNS,
        "rows": [_row(run, compared) for run in compared.runs],
        "charts": compared_curves(compared.runs),
        "settings": differing_settings(runs),
        "surroundings": differing_surroundings(runs),
        "classes": compared_classes(compared),
        "missing": [
            (run.label, [one_line(sentence) for sentence in run.data.missing])
            for run in compared.runs
            if run.data.missing
        ],
    }
    return render_page("compare.html.j2", values)


COLUMNS = (
    ("against the best", "p-value of McNemar's exact test: how probable so large a difference is by chance"),
    (SCORE_TITLES["balanced_accuracy"], "mean recall of the classes that have photos"),
    ("photos", "number of scored photos"),
    ("epochs", "epochs that were trained, and the best one"),
    ("time", "time of the training, without validation"),
    ("parameters", "number of weights"),
    ("latency", "time for one photo, the shortest of all measurements"),
)


def conclusions(compared: ComparedRuns) -> list[str]:
    """Which run is better, in sentences."""
    if compared.best is None:
        return ["None of these runs has scores yet."]
    best = compared.best
    sentences = [conclusion(best, run) for run in compared.others]
    tested = [run.pairing for run in compared.others if is_scored_alike(run, best)]
    num_tests = sum(pairing is not None and pairing.comparison is not None for pairing in tested)
    if num_tests > 1:
        sentences.append(
            f"Each of these {num_tests} tests finds a difference by chance in one of 20 cases; there is no correction"
            " for their number."
        )
    return sentences


def _row(run: ComparedRun, compared: ComparedRuns) -> dict[str, Any]:
    """A row of the table of all runs."""
    scored, data = run.scored, run.data
    return {
        "label": run.label,
        "is_best": run is compared.best,
        "model": _model(data),
        "path": one_line(str(data.root)),
        "top1": None if scored is None else scored.top1,
        "of": _of(run),
        "interval": None if scored is None else scored.intervals.get("top1"),
        "cells": _cells(run, compared),
        "export": _export(data),
    }


def _cells(run: ComparedRun, compared: ComparedRuns) -> list[Cell]:
    """In the order of `COLUMNS`."""
    scored, data, info, is_best = run.scored, run.data, run.data.model_info, run is compared.best
    comparison = None if run.pairing is None or not is_scored_alike(run, compared.best) else run.pairing.comparison
    latency = None if info is None else info.latency
    best_epoch = "" if data.best_epoch is None else f"best: {data.best_epoch + 1}"
    return [
        Cell("best") if is_best else _UNKNOWN if comparison is None
        else Cell(p_value(comparison.p_value), comparison.p_value),
        _UNKNOWN if scored is None else Cell(percentage(scored.balanced_accuracy), scored.balanced_accuracy),
        _UNKNOWN if scored is None else Cell(f"{scored.num_images:,}", scored.num_images),
        _UNKNOWN if data.status == "evaluation" else Cell(f"{data.num_epochs:,}", data.num_epochs, best_epoch),
        _UNKNOWN if data.seconds is None else Cell(duration(data.seconds), data.seconds),
        _UNKNOWN if info is None else Cell(large_number(info.num_parameters), info.num_parameters),
        _UNKNOWN if latency is None
        else Cell(f"{decimal(latency.shortest_ms)} ms", latency.shortest_ms, one_line(latency.device, 20)),
    ]  # fmt: skip


def _of(run: ComparedRun) -> str:
    """Which photos were scored, and with which test-time augmentation."""
    if run.scored is None:
        return ""
    photos = shown_scores_name(run.scored.split) + ("" if run.scored.tta == "none" else f", with {run.scored.tta}")
    return f"{photos}, so far" if run.data.status == "training" else photos


def _model(data: RunData) -> str:
    name = setting(data.config, "model", "name") or (data.model_info.model if data.model_info else None)
    if name is None and data.final is not None:
        name = data.final.model
    return one_line(str(name or DASH), 60)


def _export(data: RunData) -> tuple[str, str]:
    """The state of the exported file, and its text."""
    if data.status == "evaluation" or data.onnx is None:
        return "none", "no file"
    if data.verification is not None and not data.verification.passed:
        return "failed", "✕ failed"
    return ("verified", "✓ verified") if data.onnx.is_verified else ("unverified", "? not verified")


class ComparedRecall(NamedTuple):
    """The recall of a class in one run, and its difference to the best run; None where the class or that is unknown."""

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
    rows = [{row.name: row for row in run.scored.per_class} for run in shown if run.scored is not None]
    names = dict.fromkeys(name for one in rows for name in one)
    class_rows = [_class_row(name, [one.get(name) for one in rows]) for name in names]
    if len(class_rows) > MOST_CLASSES:
        class_rows = sorted(class_rows, key=lambda row: -(row["spread"] or 0))[:NUM_DIFFERING]
    return {"labels": [run.label for run in shown], "rows": class_rows, "num_classes": len(names)}


def _class_row(name: str, rows: list[ClassRow | None]) -> dict[str, Any]:
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
