"""The command ``evaluate``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from classifier_training.cli.words import Quiet, split_arguments

if TYPE_CHECKING:
    from classifier_training.evaluation.evaluate import Evaluation
    from classifier_training.terminal.terminal import Terminal


def evaluate(
    model: Annotated[str, typer.Argument(help="Run folder, .ckpt or .onnx file.")],
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            help="LabelledImages photos (default: the run's own), then settings.", metavar="[PHOTOS] [KEY=VALUE]..."
        ),
    ] = None,
    split: Annotated[
        Literal["train", "val", "test"] | None, typer.Option(help="Split to score; default test, else val.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: evaluations/… in the model's run.")
    ] = None,
    minima: Annotated[
        list[str] | None, typer.Option("--min", help="Exit 1 below this, such as top1=0.9.", metavar="SCORE=VALUE")
    ] = None,
    other: Annotated[
        str | None,
        typer.Option("--not-worse-than", help="Exit 1 if this run, model or evaluation is better.", metavar="RUN"),
    ] = None,
    significance: Annotated[float, typer.Option(help="Largest p-value at which it counts as better.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on labelled photos.

    classifier-training evaluate runs/NAME --min top1=0.9 --not-worse-than runs/OTHER
    """
    place, overrides = split_arguments(photos)
    from classifier_training.evaluation.gates import check_gates, parse_gates, require_passed

    gates = parse_gates(minima or [], other, significance)
    from classifier_training.evaluation.evaluate import evaluate as run_evaluation
    from classifier_training.files.text import plain_text
    from classifier_training.terminal.terminal import Terminal

    terminal = Terminal(quiet=quiet, to_stderr=as_json)
    with (
        terminal.capture_warnings(),
        terminal.progress("checking photos", "files") as checking,
        terminal.progress("scoring", "images") as scoring,
    ):
        result = run_evaluation(model, place, overrides, split=split, output=output, checking=checking, scoring=scoring)
        result = result if output is not None else _write_where_usual(result, terminal)
        _warn_of_photos(result, terminal)
        if not as_json:
            _show_evaluation(result, terminal)
        judged = check_gates(result, gates, overrides, scoring=scoring)
    if as_json:
        told = result.to_dict() | {"gates": [gate.to_dict() for gate in judged]}
        sys.stdout.write(plain_text(json.dumps(told, ensure_ascii=False)) + "\n")
    for gate in judged:
        if gate.passed and not as_json:
            terminal.result(f"gate passed: {gate.message}")
    require_passed(judged)


def _write_where_usual(evaluation: Evaluation, terminal: Terminal) -> Evaluation:
    """Writes an evaluation that nobody named a folder for; that it cannot be written spoils no score."""
    from classifier_training.evaluation.evaluate import write_evaluation

    try:
        return write_evaluation(evaluation)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        terminal.warn(
            f"the evaluation is not written, cannot write{where}: {error.strerror}; name a place with --output"
        )
        return evaluation


def _warn_of_photos(evaluation: Evaluation, terminal: Terminal) -> None:
    """Says which photos were not scored, and which should not have been."""
    left_out, num_trained_on = evaluation.images.left_out, evaluation.num_trained_on
    if left_out:
        terminal.warn(f"{len(left_out)} unreadable file(s) left out: {', '.join(left_out[:3])}")
    if num_trained_on and evaluation.images.split != "train":
        terminal.warn(f"{num_trained_on} of these photos were trained on: the scores are too good")


def _show_evaluation(evaluation: Evaluation, terminal: Terminal) -> None:
    """The scores of every class, and those of all of them as plain lines that other programs read."""
    from classifier_training.terminal.score_table import show_scores

    title = f"{evaluation.model} on {evaluation.description}"
    show_scores(terminal, evaluation.scores, evaluation.classes, title)
    intervals = evaluation.intervals.to_dict()
    ends = [f"{name} {ends[0]:.4f} to {ends[1]:.4f}" for name, ends in intervals.items() if ends is not None]
    terminal.info(f"95 % intervals: {', '.join(ends)}")
    if evaluation.folder is not None:
        terminal.info(f"written to {evaluation.folder}")
    for name in intervals:
        sys.stdout.write(f"{name} {getattr(evaluation.scores, name):.4f}\n")
