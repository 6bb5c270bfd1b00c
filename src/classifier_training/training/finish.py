"""The end of a training: the test score of the best weights, the export, and the list of what was written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classifier_training.config.schema import Config, ExportConfig
from classifier_training.data.photos import Photos
from classifier_training.data.sources.detect import shown_root
from classifier_training.evaluation.checkpoint import score_checkpoint
from classifier_training.exporters.export import export_checkpoint
from classifier_training.exporters.forms import DEFAULT_FORM
from classifier_training.files.text import plain_text
from classifier_training.metrics.intervals import ScoreIntervals, score_intervals
from classifier_training.metrics.scores import Scores, scores_from_confusion
from classifier_training.pages.write import report
from classifier_training.results.figures import plot_scored
from classifier_training.results.folder import write_scored
from classifier_training.results.results_file import ResultsFile, split_scores, write_results
from classifier_training.results.scored_pass import LabelledImages, ScoredPass
from classifier_training.run.folder import RunFolder
from classifier_training.run.records import DamagedFileError, read_record
from classifier_training.terminal.score_table import show_scores, summarise
from classifier_training.terminal.terminal import Terminal, duration
from classifier_training.training.list_files import show_files
from classifier_training.training.plan import Plan
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
    """

    best_epoch: int
    best_score: float
    num_epochs: int
    started: float

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
    """Scores ``best.ckpt``, exports it, writes ``results.json``, and lists every file.

    Args:
        run: The run folder.
        plan: What was trained.
        terminal: Where messages go.
        trained: How the training ended.
        device: Where to score.
        check_stop: Called between any two steps; may raise to stop.
    """
    config = plan.config
    scored = score_best(run, plan, terminal, device, check_stop)
    check_stop()
    results = results_of(plan, trained, scored)
    write_results(run.results, results)  # before anything else can fail
    write_best(run, scored, has_figures=config.report.enabled)
    title = f"{results.split} scores of the best epoch, {trained.best_epoch + 1}"
    show_scores(terminal, scored.scores, scored.classes, title)
    terminal.info(summarise(scored.scores))
    check_stop()
    if config.export.enabled:
        figures = export_checkpoint(run, config.export, terminal)
        results = replace(results, export=figures, exports={DEFAULT_FORM: figures}, seconds=trained.seconds)
        write_results(run.results, results)
    if config.report.enabled:
        with warn_instead_of_raise(run.report.name):
            report(run.root)
    show_files(run, terminal)
    took = duration(trained.seconds)
    terminal.result(f"{results.split} {_describe_top1(scored)} after {took}: {run.root}")
    onnx = run.onnx if config.export.enabled else None
    return _train_result(run, results, scored.scores, scored.intervals, onnx)


def _describe_top1(scored: ScoredPass) -> str:
    low, high = scored.intervals.top1
    return (
        f"top-1 {scored.scores.top1:.2%} (95 % interval {low:.2%} to {high:.2%}) on {scored.scores.num_images} images"
    )


def score_best(
    run: RunFolder, plan: Plan, terminal: Terminal, device: torch.device, check_stop: Callable[[], None]
) -> ScoredPass:
    """Scores ``best.ckpt`` on the test split; on the validation split where there is no other.

    Args:
        run: The run folder.
        plan: What was trained.
        terminal: Shows the progress.
        device: Where to score.
        check_stop: Called after each batch; may raise to stop.
    """
    split: Split = "test" if len(plan.photos.rows.get("test", ())) else "val"
    if split == "val":
        terminal.warn(
            "there is no test split: the final score is that of the validation split, which chose the weights"
        )
    images = _images_of(plan.photos, split)
    with terminal.progress(f"scoring {split}", "images") as progress:

        def advance(done: int, total: int) -> None:
            check_stop()
            progress(done, total)

        scored = score_checkpoint(
            run.best_checkpoint,
            lambda _: images,
            plan.config,
            device=device,
            precision=plan.config.trainer.precision,  # type: ignore[arg-type]  # "auto" has been decided
            progress=advance,
        )
    return replace(scored, model=run.best_checkpoint.relative_to(run.root).as_posix())


def _images_of(photos: Photos, split: Split) -> LabelledImages:
    records = photos.records(split)
    return LabelledImages(
        files=[str(record) for record in records],
        labels=photos.labels(split),
        classes=photos.classes,
        description=f"the {split} split of {shown_root(photos.root)}",
        split=split,
        records=records,
        left_out=tuple(image.path for image in photos.bad),
    )


def results_of(plan: Plan, trained: Trained, scored: ScoredPass) -> ResultsFile:
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
    """The result of a finished run; None: its weights are still to be scored or exported.

    Args:
        run: The run folder.
        config: Its configuration, with what a resume has changed.
        num_epochs: Epochs that are trained.
        best_epoch: Epoch of the best weights, from 0.
    """
    if not run.results.is_file() or not run.best_checkpoint.is_file():
        return None
    try:
        results = read_record(run.results, ResultsFile)
    except DamagedFileError:
        return None
    if results.epochs != num_epochs or results.best_epoch != best_epoch or results.final is None:
        return None
    if config.export.enabled and not _is_exported(run, config.export, results.export):
        return None
    final = results.final
    scores = scores_from_confusion(np.array(final.confusion), round(final.top5 * final.num_images))
    onnx = run.onnx if config.export.enabled else None
    return _train_result(run, results, scores, score_intervals(scores), onnx)


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


def _is_exported(run: RunFolder, config: ExportConfig, figures: dict[str, Any] | None) -> bool:
    """Whether the export is there, whole and made as configured."""
    wanted = config.model_dump(exclude={"enabled"}).items()
    files = (run.onnx, run.labels_mapping, run.verification)
    return figures is not None and wanted <= figures.items() and all(path.is_file() for path in files)
