"""The end of a training: the test score of the best weights, the export, and the list of what was written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.config.schema import Config
from classifier_training.errors import CheckpointError
from classifier_training.evaluation.checkpoint import Passes, score_checkpoint
from classifier_training.evaluation.reproduction import compare_score, is_same_arithmetic, reproduce
from classifier_training.exporters.export import export_checkpoint
from classifier_training.exporters.forms import DEFAULT_FORM
from classifier_training.files.text import plain_text
from classifier_training.metrics.intervals import ScoreIntervals, score_intervals
from classifier_training.metrics.scores import Scores, scores_from_confusion
from classifier_training.models.checkpoint import read_checkpoint
from classifier_training.pages.write import report
from classifier_training.results.figures import plot_scored
from classifier_training.results.final_choice import FinalChoice
from classifier_training.results.folder import write_scored
from classifier_training.results.results_file import (
    ReplacedBest,
    Reproduction,
    ResultsFile,
    split_scores,
    write_results,
)
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.run.folder import RunFolder
from classifier_training.run.records import DamagedFileError, read_record
from classifier_training.run.time_spent import time_spent_on
from classifier_training.run.tree import describe_file
from classifier_training.terminal.score_table import show_scores, summarise
from classifier_training.terminal.terminal import Terminal, duration
from classifier_training.training.calibration import Calibration, calibrate_best, show_temperature, temperature_record
from classifier_training.training.choose_weights import choose_weights, epoch_name, remove_candidates
from classifier_training.training.decision import decision_record, show_decision
from classifier_training.training.plan import Plan
from classifier_training.training.split_images import split_images
from classifier_training.training.unknown import measured_unknown, show_unknown
from classifier_training.training.weights import scratch_note
from classifier_training.types import Split
from classifier_training.warn import warn_instead_of_raise


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training has reached, and where it is.

    Attributes:
        run: The run folder.
        best_checkpoint: The weights that scored best.
        best_epoch: Their epoch, from 0.
        best_score: Their monitored metric.
        split: What ``test`` was measured on: ``test``, or ``val`` where there is no test split.
        test: Their scores on that split.
        intervals: The intervals of these scores, of 95 % confidence.
        onnx: The proven export; None where it was switched off.
    """

    run: Path
    best_checkpoint: Path
    best_epoch: int
    best_score: float
    split: str
    test: Scores
    intervals: ScoreIntervals
    onnx: Path | None


@dataclass(frozen=True, slots=True)
class Trained:
    """A training that has come to its end.

    Attributes:
        best_epoch: Epoch of the best weights, from 0.
        best_score: Their monitored metric.
        num_epochs: Epochs that were trained.
        started: When this process began to train, by the monotonic clock.
        replaced_best: What the run recorded of other best weights, which ``best.ckpt`` no longer holds.
        choice: Which weights ``best.ckpt`` holds; None: those of the best epoch, as nothing else was to be chosen.
    """

    best_epoch: int
    best_score: float
    num_epochs: int
    started: float
    replaced_best: ReplacedBest | None = None
    choice: FinalChoice | None = None

    @property
    def is_best_epoch(self) -> bool:
        """Whether ``best.ckpt`` holds the weights of the best epoch."""
        return self.choice is None or self.choice.chosen == epoch_name(self.best_epoch)

    @property
    def expected_score(self) -> float:
        """What the weights in ``best.ckpt`` must reproduce: the validation loss for which they were chosen, or that."""
        return self.best_score if self.choice is None or self.is_best_epoch else self.choice.best.loss

    @property
    def weights_name(self) -> str:
        """What ``best.ckpt`` holds."""
        if self.choice is None or self.is_best_epoch:
            return f"the best epoch, {self.best_epoch + 1}"
        return f"the final weights, {self.choice.chosen}"

    @property
    def seconds(self) -> float:
        """How long this process has trained."""
        return round(time.monotonic() - self.started, 1)


def finish_run(
    run: RunFolder,
    plan: Plan,
    terminal: Terminal,
    trained: Trained,
    device: torch.device,
    check_stop: Callable[[], None] = lambda: None,
) -> TrainResult:
    """Scores ``best.ckpt`` on a device, exports it, writes ``results.json``, and lists every file.

    ``check_stop`` is called between any two steps, and may raise to stop.
    """
    config = plan.config
    with time_spent_on(run, "choice"):
        choice = choose_weights(run, plan, terminal, trained.num_epochs, device, check_stop)
    with time_spent_on(run, "scoring"):
        calibration = calibrate_best(run, plan, split_images(plan, "val"), terminal, device, check_stop)
        scored = score_best(run, plan, terminal, device, check_stop, calibration.passes)
        trained = replace(check_best(run, trained, terminal), choice=choice)
        check_stop()
        reproduction = check_reproduction(run, plan, terminal, trained, scored, device, check_stop, calibration.passes)
    results = replace(results_of(plan, trained, scored, calibration), reproduction=reproduction)
    write_results(run.results, results)  # before anything else can fail
    remove_candidates(run, plan, choice)
    with time_spent_on(run, "figures"):
        write_best(run, scored, has_figures=config.report.enabled)
    show_best(terminal, trained, results, scored)
    check_stop()
    if config.export.enabled:
        with time_spent_on(run, "export"):
            scored_on_cpu = list(calibration.passes or ()) if device.type == "cpu" else None
            figures = export_checkpoint(run, config, terminal, scored=scored_on_cpu or None)
        results = replace(results, export=figures, exports={DEFAULT_FORM: figures}, seconds=trained.seconds)
        write_results(run.results, results)
    if config.report.enabled:
        with warn_instead_of_raise(run.report.name):
            report(run.root)
    show_files(run, terminal)
    top1 = f"{results.split} {_describe_top1(scored)}"
    terminal.result(f"{top1} after {duration(trained.seconds)}{scratch_note(run)}: {run.root}")
    return _train_result(run, results, scored.scores, scored.intervals, run.onnx if config.export.enabled else None)


def _describe_top1(scored: ScoredPass) -> str:
    low, high = scored.intervals.top1
    num_images = scored.scores.num_images
    return f"top-1 {scored.scores.top1:.2%} (95 % interval {low:.2%} to {high:.2%}) on {num_images} images"


def show_best(terminal: Terminal, trained: Trained, results: ResultsFile, scored: ScoredPass) -> None:
    """Prints the scores of the best weights."""
    title = f"{results.split} scores of {trained.weights_name}, in float32"
    show_scores(terminal, scored.scores, scored.classes, title)
    terminal.info(summarise(scored.scores))
    show_temperature(terminal, results.temperature, scored)
    show_decision(terminal, results.decision)
    show_unknown(terminal, results.unknown)


def score_best(
    run: RunFolder,
    plan: Plan,
    terminal: Terminal,
    device: torch.device,
    check_stop: Callable[[], None],
    val_passes: Passes | None = None,
) -> ScoredPass:
    """Scores ``best.ckpt`` in float32 on the test split; on the validation split where there is no other.

    ``check_stop`` is called after each batch, and may raise to stop. ``val_passes`` are the logits of the validation
    images in float32, where they are known.
    """
    split: Split = "test" if len(plan.photos.rows.get("test", ())) else "val"
    if split == "val":
        terminal.warn(
            "there is no test split: the final score is that of the validation split, which chose the weights"
        )
    images = split_images(plan, split)
    with terminal.progress(f"scoring {split}", "images") as progress:

        def advance(done: int, total: int) -> None:
            check_stop()
            progress(done, total)

        scored = score_checkpoint(
            run.best_checkpoint,
            lambda *_: images,
            plan.config,
            device=device,
            progress=advance,
            held=val_passes if split == "val" else None,
        )
    return replace(scored, model=run.best_checkpoint.relative_to(run.root).as_posix())


def check_best(run: RunFolder, trained: Trained, terminal: Terminal) -> Trained:
    """What is known of the weights in ``best.ckpt``, with a warning where they are not those that the run recorded.

    A run that is killed between its writing of ``best.ckpt`` and of ``last.ckpt`` repeats an epoch when it is resumed.
    Where the repetition scores otherwise, as on a GPU it may, the weights in the file are of an epoch that this run
    does not know, and the earlier best ones are lost.
    """
    checkpoint = read_checkpoint(run.best_checkpoint)
    epoch = int(checkpoint["epoch"])
    if epoch == trained.best_epoch:
        return trained
    own = checkpoint.get("callbacks", {}).get(RunCheckpoint.__qualname__, {})
    score = own.get("best_model_score") if own.get("best_epoch") == epoch else None
    known = "whose score is not known" if score is None else f"which scored {score:.4f} then"
    terminal.warn(
        f"{run.best_checkpoint} holds the weights of epoch {epoch + 1}, {known}; this run recorded epoch"
        f" {trained.best_epoch + 1} with {trained.best_score:.4f} as its best, whose weights are not in this file:"
        f" the training was stopped while it wrote its checkpoints, or the file was replaced; scores and export are"
        f" those of epoch {epoch + 1}; to be sure of the best weights, train again"
    )
    found_score = None if score is None else float(score)
    replaced = ReplacedBest(
        epoch=trained.best_epoch, score=trained.best_score, found_epoch=epoch, found_score=found_score
    )
    trained = replace(trained, replaced_best=replaced)
    return trained if found_score is None else replace(trained, best_epoch=epoch, best_score=found_score)


def check_reproduction(
    run: RunFolder,
    plan: Plan,
    terminal: Terminal,
    trained: Trained,
    scored: ScoredPass,
    device: torch.device,
    check_stop: Callable[[], None],
    val_passes: Passes | None = None,
) -> Reproduction:
    """Makes sure that ``best.ckpt`` still has the monitored score on the validation split, and warns if it has not.

    Where the final pass was on that split, in the same arithmetic, its scores are taken, and nothing is scored again;
    nor where the logits are known in that arithmetic, as ``val_passes`` of float32.
    """
    config = plan.config
    is_exact = device.type == "cpu" and config.trainer.precision == "32-true"
    if scored.images.split == "val" and is_exact and config.checkpoint.monitor != "val/loss" and trained.is_best_epoch:
        found = compare_score(
            trained.best_score, scored.scores, config, is_exact=is_same_arithmetic(config, device, run.best_checkpoint)
        )
    else:
        with terminal.progress("checking best.ckpt on val", "images") as progress:

            def advance(done: int, total: int) -> None:
                check_stop()
                progress(done, total)

            found = reproduce(
                run.best_checkpoint, split_images(plan, "val"), config, trained.expected_score,
                device=device, progress=advance, is_chosen=not trained.is_best_epoch,
                held=val_passes if is_exact or not trained.is_best_epoch else None,
            )  # fmt: skip
    if not found.passed:
        terminal.warn(
            f"{run.best_checkpoint} does not reproduce the score for which it was kept: {found.monitor} was"
            f" {found.monitored:.6g} for {trained.weights_name} and is {found.measured:.6g} now (allowed"
            f" difference {found.tolerance:.2g}); do not trust this run's scores before you know why"
        )
    return found


def results_of(plan: Plan, trained: Trained, scored: ScoredPass, calibration: Calibration) -> ResultsFile:
    """The content of ``results.json`` before the export."""
    monitor, scores = plan.config.checkpoint.monitor, split_scores(scored)
    is_test = scored.images.split == "test"
    return ResultsFile(
        monitor=monitor,
        best={"epoch": trained.best_epoch, monitor: trained.best_score},
        test=scores if is_test else None,
        val=None if is_test else scores,
        epochs=trained.num_epochs,
        seconds=trained.seconds,
        left_out=tuple(map(plain_text, scored.images.left_out)),
        replaced_best=trained.replaced_best,
        choice=trained.choice,
        temperature=temperature_record(calibration, scored),
        decision=decision_record(calibration, plan.config.decision, scored),
        unknown=measured_unknown(calibration.unknown, scored),
    )


def write_best(run: RunFolder, scored: ScoredPass, *, has_figures: bool) -> None:
    """Writes the tables and figures of the best weights; what fails becomes a warning, as the export is to follow."""
    folder = run.scored(str(scored.images.split))
    with warn_instead_of_raise(f"{folder.root}"):
        write_scored(folder, scored)
    if has_figures:
        plot_scored(folder, scored)
    else:
        with warn_instead_of_raise(f"the removal of older images from {folder.root}"):
            folder.remove_examples()  # of the weights that were the best before the run was resumed


def finished_result(run: RunFolder, config: Config, *, num_epochs: int, best_epoch: int) -> TrainResult | None:
    """The result of a finished run; None: its weights are still to be scored, or exported as now configured."""
    if not run.results.is_file() or not run.best_checkpoint.is_file():
        return None
    try:
        results = read_record(run.results, ResultsFile)
    except DamagedFileError:
        return None
    if results.epochs != num_epochs or results.final is None:
        return None
    if results.best_epoch not in (best_epoch, _epoch_of(run.best_checkpoint)):
        return None
    if config.export.enabled:
        wanted, files = config.export.model_dump(exclude={"enabled"}), (run.onnx, run.labels_mapping, run.verification)
        recorded = results.export or {}  # an older version had fewer settings
        is_as_configured = all(recorded.get(name, value) == value for name, value in wanted.items())
        if not recorded or not is_as_configured or not all(path.is_file() for path in files):
            return None
    final = results.final
    scores = scores_from_confusion(final.cells, round(final.top5 * final.num_images))
    onnx = run.onnx if config.export.enabled else None
    return _train_result(run, results, scores, score_intervals(scores), onnx)


def _epoch_of(checkpoint: Path) -> int | None:
    """The epoch of the weights in a checkpoint; None where it cannot be read."""
    with contextlib.suppress(CheckpointError):
        return int(read_checkpoint(checkpoint)["epoch"])
    return None


def _train_result(
    run: RunFolder, results: ResultsFile, scores: Scores, intervals: ScoreIntervals, onnx: Path | None
) -> TrainResult:
    return TrainResult(
        run=run.root,
        best_checkpoint=run.best_checkpoint,
        best_epoch=results.best_epoch,
        best_score=results.best_score,
        split=results.split,
        test=scores,
        intervals=intervals,
        onnx=onnx,
    )


def show_files(run: RunFolder, terminal: Terminal) -> None:
    """Shows every file of a run and its meaning."""
    names = [path.relative_to(run.root).as_posix() for path in run.written_files()]
    terminal.pairs(f"files in {run.root}", dict(map(describe_file, names)))
