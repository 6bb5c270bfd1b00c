"""The command ``evaluate``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from classifier_training.cli.arguments import Quiet, read_settings, split_arguments
from classifier_training.errors import ConfigError

if TYPE_CHECKING:
    from classifier_training.evaluation.evaluate import Evaluation
    from classifier_training.terminal.terminal import Terminal


def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            help="Run folder, .ckpt or .onnx file; other labelled photos than the run's own; settings.",
            metavar="RUN [PHOTOS] [KEY=VALUE]...",
        ),
    ],
    split: Annotated[
        Literal["train", "val", "test"] | None, typer.Option(help="Split to score; default: test, if there is one.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write; default: in the run, evaluations/...", metavar="FOLDER"),
    ] = None,
    minima: Annotated[
        list[str] | None,
        typer.Option("--min", help="Exit with 1 if a score is lower, such as top1=0.9.", metavar="SCORE=VALUE"),
    ] = None,
    other: Annotated[
        str | None,
        typer.Option("--not-worse-than", help="Exit with 1 if this run, model or evaluation is better.", metavar="RUN"),
    ] = None,
    significance: Annotated[float, typer.Option(help="p-value below which the other one counts as better.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on labelled photos, and check it against limits.

    Examples:
      classifier-training evaluate runs/shirts
      classifier-training evaluate runs/shirts new-photos --min top1=0.9
    """
    paths, settings = split_arguments(arguments, most=2)
    if not paths:
        raise ConfigError("no model given; type: classifier-training evaluate RUN")
    overrides = read_settings(settings) if settings else ()  # an ONNX file without settings needs no pydantic
    from classifier_training.evaluation.gates import check_gates, parse_gates, require_passed

    gates = parse_gates(minima or [], other, significance)
    from classifier_training.evaluation.evaluate import evaluate as run_evaluation
    from classifier_training.terminal.terminal import Terminal

    terminal = Terminal(quiet=quiet, to_stderr=as_json)
    with (
        terminal.capture_warnings(),
        terminal.progress("checking photos", "files") as checking,
        terminal.progress("scoring", "images") as scoring,
    ):
        evaluation = run_evaluation(
            paths[0],
            paths[1] if len(paths) > 1 else None,
            overrides,
            split=split,
            output=output,
            checking=checking,
            scoring=scoring,
        )
        evaluation = evaluation if output is not None else _write_to_default(evaluation, terminal)
        _warn_of_photos(evaluation, terminal)
        if not as_json:
            _show_evaluation(evaluation, terminal)
        results = check_gates(evaluation, gates, overrides, scoring=scoring)
    if as_json:
        shown = evaluation.to_dict() | {"gates": [result.to_dict() for result in results]}
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        for result in results:
            if result.passed:
                terminal.result(f"gate passed: {result.message}")
    require_passed(results)


def _write_to_default(evaluation: Evaluation, terminal: Terminal) -> Evaluation:
    """Writes into the default folder; a failure is a warning, because the scores are still valid."""
    from classifier_training.evaluation.evaluate import write_evaluation

    try:
        return write_evaluation(evaluation)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        terminal.warn(
            f"the evaluation is not saved, cannot write{where}: {error.strerror}; choose a folder with --output"
        )
        return evaluation


def _warn_of_photos(evaluation: Evaluation, terminal: Terminal) -> None:
    """Warns about photos that were left out, and about photos that the model was trained on."""
    left_out, num_trained_on = evaluation.images.left_out, evaluation.num_trained_on
    if left_out:
        terminal.warn(f"{len(left_out)} unreadable file(s) left out: {', '.join(left_out[:3])}")
    if num_trained_on and evaluation.images.split != "train":
        terminal.warn(f"{num_trained_on} of these photos were used for training: the scores are too optimistic")


def _show_evaluation(evaluation: Evaluation, terminal: Terminal) -> None:
    """Prints the scores of each class, and the overall scores as plain lines for other programs to read."""
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
