"""``compare.html``: several runs, or evaluations, side by side, and whether the better one really is better."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.compare.compared_classes import compared_classes
from classifier_training.pages.compare.compared_curves import compared_curves
from classifier_training.pages.compare.compared_runs import (
    ComparedRun,
    ComparedRuns,
    cannot_be_compared,
    conclusion,
    p_value,
)
from classifier_training.pages.compare.compared_settings import differing_settings, differing_surroundings
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.section import shown_scores_name
from classifier_training.pages.templating import render_page
from classifier_training.pages.wording import DASH, decimal, large_number, moment, percentage
from classifier_training.terminal.terminal import duration


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the table of all runs.

    Attributes:
        text: What is shown.
        value: For sorting; None comes last.
        second: A second line.
    """

    text: str
    value: float | None = None
    second: str = ""


_UNKNOWN = Cell(DASH)


def render_compare(compared: ComparedRuns) -> str:
    """The page as text; it needs no other file and no network.

    Args:
        compared: Two runs or more, read with their predictions.
    """
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
    ("balanced accuracy", "mean recall of the classes that have photos"),
    ("photos", "number of scored photos"),
    ("epochs", "epochs that were trained, and the best one"),
    ("time", "time of the training, without validation"),
    ("parameters", "number of weights"),
    ("latency", "time for one photo, the shortest of all measurements"),
)


def conclusions(compared: ComparedRuns) -> list[str]:
    """Which run is better, in sentences; argument as of `render_compare`."""
    if compared.best is None:
        return ["None of these runs has scores yet."]
    best = compared.best
    sentences = [conclusion(best, run) for run in compared.others]
    num_tests = sum(run.pairing is not None and run.pairing.comparison is not None for run in compared.others)
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
        "cells": _cells(run, is_best=run is compared.best),
        "export": _export(data),
    }


def _cells(run: ComparedRun, *, is_best: bool) -> list[Cell]:
    """In the order of `COLUMNS`."""
    scored, data = run.scored, run.data
    info = data.model_info
    return [
        _against_best(run, is_best=is_best),
        _UNKNOWN if scored is None else Cell(percentage(scored.balanced_accuracy), scored.balanced_accuracy),
        _UNKNOWN if scored is None else Cell(f"{scored.num_images:,}", scored.num_images),
        _epochs(data),
        _UNKNOWN if data.seconds is None else Cell(duration(data.seconds), data.seconds),
        _UNKNOWN if info is None else Cell(large_number(info.num_parameters), info.num_parameters),
        _latency(data),
    ]


def _epochs(data: RunData) -> Cell:
    if data.status == "evaluation":
        return _UNKNOWN
    return Cell(
        f"{data.num_epochs:,}", data.num_epochs, "" if data.best_epoch is None else f"best: {data.best_epoch + 1}"
    )


def _latency(data: RunData) -> Cell:
    latency = None if data.model_info is None else data.model_info.latency
    if latency is None:
        return _UNKNOWN
    return Cell(f"{decimal(latency.shortest_ms)} ms", latency.shortest_ms, one_line(latency.device, 20))


def _against_best(run: ComparedRun, *, is_best: bool) -> Cell:
    comparison = None if run.pairing is None else run.pairing.comparison
    if is_best or comparison is None:
        return Cell("best") if is_best else _UNKNOWN
    return Cell(p_value(comparison.p_value), comparison.p_value)


def _of(run: ComparedRun) -> str:
    """Which photos were scored."""
    if run.scored is None:
        return ""
    photos = shown_scores_name(run.scored.split)
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
