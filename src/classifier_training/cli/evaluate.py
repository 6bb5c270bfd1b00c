"""The command ``evaluate``."""

from __future__ import annotations

import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from classifier_training.cli.arguments import (
    Labels,
    PreprocessingText,
    Quiet,
    TargetCoverage,
    TargetPrecision,
    TtaOption,
    read_settings,
    split_arguments,
    target_settings,
)
from classifier_training.errors import ConfigError
from classifier_training.files.text import name_some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classifier_training.config.overrides import OverrideLike
    from classifier_training.evaluation.evaluate import Evaluation
    from classifier_training.evaluation.gates import GateResult
    from classifier_training.inference.foreign import Description
    from classifier_training.terminal.terminal import Terminal


Arguments = Annotated[
    list[str],
    typer.Argument(
        help="Run folder, .ckpt or .onnx file; other labelled photos than the run's own; settings.",
        metavar="RUN [PHOTOS] [KEY=VALUE]...",
    ),
]
ScoredSplit = Annotated[
    Literal["train", "val", "test"] | None, typer.Option(help="Split to score; default: test, if there is one.")
]
Current = Annotated[
    bool, typer.Option("--current", help="Score the run's photos as they are now, with those added since.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder to write; default: in the run, evaluations/...", metavar="FOLDER"),
]
Minima = Annotated[
    list[str] | None,
    typer.Option("--min", help="Exit with 1 if a score is lower, such as top1=0.9.", metavar="SCORE=VALUE"),
]
Other = Annotated[
    str | None,
    typer.Option("--not-worse-than", help="Exit with 1 if this run, model or evaluation is better.", metavar="RUN"),
]
Significance = Annotated[float, typer.Option(help="p-value below which the other one counts as better.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def evaluate(
    arguments: Arguments,
    split: ScoredSplit = None,
    current: Current = False,
    output: Output = None,
    minima: Minima = None,
    other: Other = None,
    significance: Significance = 0.05,
    tta: TtaOption = "none",
    target_precision: TargetPrecision = None,
    target_coverage: TargetCoverage = None,
    labels: Labels = None,
    preprocessing: PreprocessingText = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on labelled photos, and check it against limits.

    Examples:
      classifier-training evaluate runs/shirts
      classifier-training evaluate runs/shirts new-photos --min top1=0.9
    """
    model, photos, overrides = _read_arguments([*arguments, *target_settings(target_precision, target_coverage)])
    from classifier_training.evaluation.gates import check_gates, parse_gates

    gates = parse_gates(minima or [], other, significance, tta)
    from classifier_training.evaluation.evaluate import evaluate as run_evaluation
    from classifier_training.terminal.terminal import Terminal

    terminal = Terminal(quiet=quiet, to_stderr=as_json)
    with (
        terminal.capture_warnings(),
        terminal.progress("checking photos", "files") as checking,
        terminal.progress("scoring", "images") as scoring,
    ):
        score = partial(run_evaluation, model, photos, overrides, split=split, current=current, output=output, tta=tta)
        evaluation = score(description=_described(labels, preprocessing), checking=checking, scoring=scoring)
        evaluation = _write_to_default(evaluation, terminal) if output is None else evaluation
        _show_evaluation(evaluation, terminal, as_json=as_json)
        _show_whole_split(evaluation, model, photos, terminal)
        results = check_gates(evaluation, gates, overrides, scoring=scoring)
    _report_gates(results, evaluation, terminal, as_json=as_json)


def _described(labels: Path | None, preprocessing: str | None) -> Description | None:
    from classifier_training.inference.foreign import read_description

    return read_description(labels, preprocessing)


def _read_arguments(arguments: list[str]) -> tuple[str, str | None, OverrideLike]:
    """The model, the photos if they are named, and the settings."""
    paths, settings = split_arguments(arguments, most=2)
    if not paths:
        raise ConfigError("no model given; type: classifier-training evaluate RUN")
    overrides = read_settings(settings) if settings else ()  # an ONNX file without settings needs no pydantic
    return paths[0], paths[1] if len(paths) > 1 else None, overrides


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


def _show_evaluation(evaluation: Evaluation, terminal: Terminal, *, as_json: bool) -> None:
    """Prints warnings, the scores of each class, and the overall scores as plain lines for other programs to read."""
    left_out, num_trained_on = evaluation.images.left_out, evaluation.num_trained_on
    if left_out:
        terminal.warn(f"{len(left_out)} unreadable file(s) left out: {name_some(left_out)}")
    if num_trained_on and evaluation.images.split != "train":
        terminal.warn(
            f"{num_trained_on} of these photos were used for training: the scores are too optimistic"
            f" ({name_some(evaluation.trained_on, total=num_trained_on)})"
        )
    for message in evaluation.images.copies:
        terminal.warn(message)
    if as_json:
        return
    from classifier_training.imaging.views import describe_tta
    from classifier_training.terminal.score_table import show_scores

    title = f"{evaluation.model} on {evaluation.description}{describe_tta(evaluation.tta)}"
    show_scores(terminal, evaluation.scores, evaluation.classes, title)
    _show_figures(evaluation, terminal)


def _show_figures(evaluation: Evaluation, terminal: Terminal) -> None:
    """Prints intervals, calibration, decision and unknown images, and the overall scores for other programs to read."""
    from classifier_training.results.decision_effect import decision_scores, describe_decision
    from classifier_training.results.temperature_effect import describe_effect
    from classifier_training.results.unknown_effect import describe_unknown

    intervals, decision = evaluation.intervals.to_dict(), evaluation.decision
    ends = [f"{name} {ends[0]:.4f} to {ends[1]:.4f}" for name, ends in intervals.items() if ends is not None]
    terminal.info(f"95 % intervals: {', '.join(ends)}")
    if evaluation.temperature is not None:
        terminal.info(describe_effect(evaluation.temperature))
    for sentence in () if decision is None else describe_decision(decision):
        terminal.info(sentence)
    if evaluation.unknown is not None:
        terminal.info(describe_unknown(evaluation.unknown))
    if evaluation.images.split == "val" and not evaluation.num_trained_on and evaluation.is_calibrated:
        terminal.info("temperature and thresholds were fitted on these images, so on others they may hold less")
    if evaluation.folder is not None:
        terminal.info(f"written to {evaluation.folder}")
    shown = {name: getattr(evaluation.scores, name) for name in intervals}
    for name, value in (shown | {name: one for name, (one, _) in decision_scores(decision).items()}).items():
        sys.stdout.write(f"{name} {value:.4f}\n")


def _show_whole_split(evaluation: Evaluation, model: str, photos: str | None, terminal: Terminal) -> None:
    """What to type where the photos that were named are all those of the run, in another place."""
    from classifier_training.data.sources.address import shown

    if evaluation.whole_split is not None and photos is not None:
        words = shlex.join(["classifier-training", "evaluate", model, f"data.root={shown(photos)}"])
        terminal.warn(
            f"all {evaluation.whole_split} images of the run are among these photos; to score them alone, type: {words}"
        )


def _report_gates(results: Sequence[GateResult], evaluation: Evaluation, terminal: Terminal, *, as_json: bool) -> None:
    """Prints the gates that passed, or everything as JSON; a gate that failed ends the program."""
    from classifier_training.evaluation.gates import require_passed

    if as_json:
        shown = evaluation.to_dict() | {"gates": [result.to_dict() for result in results]}
        sys.stdout.write(json.dumps(shown) + "\n")
    for result in results:
        if result.passed and not as_json:
            terminal.result(f"gate passed: {result.message}")
    require_passed(results)
