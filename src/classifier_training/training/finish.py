"""The end of a training: the test score of the best weights, the export, and the list of what was written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classifier_training.config.schema import Config, ExportConfig
from classifier_training.data.index.check import count_up
from classifier_training.data.loading.loaders import evaluation_loader
from classifier_training.data.sources.recognise import shown_root
from classifier_training.evaluation.score import score_model
from classifier_training.exporters.export import export_checkpoint
from classifier_training.files.atomic import write_json
from classifier_training.metrics.intervals import ScoreIntervals, score_intervals
from classifier_training.metrics.scores import Predictions, Scores, scores_from_confusion
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.checkpoint import load_model
from classifier_training.models.grad_cam import cam_function
from classifier_training.pages.write import report
from classifier_training.results.figures import plot_examples
from classifier_training.results.folder import write_scored
from classifier_training.run.folder import RunFolder
from classifier_training.terminal.score_table import show_scores, summarise
from classifier_training.terminal.terminal import Terminal, duration
from classifier_training.training.list_files import show_files
from classifier_training.training.plan import Plan
from classifier_training.types import ClassificationBatch, Split
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


def finish_run(
    run: RunFolder,
    plan: Plan,
    terminal: Terminal,
    *,
    device: torch.device,
    best_epoch: int,
    best_score: float,
    num_epochs: int,
    started: float,
    check_stop: Callable[[], None] = lambda: None,
) -> TrainResult:
    """Scores ``best.ckpt``, writes ``results.json``, exports, and shows every file.

    Args:
        run: The run folder.
        plan: What was trained.
        terminal: Where messages go.
        device: Where to score.
        best_epoch: Epoch of the best weights, from 0.
        best_score: Their monitored metric.
        num_epochs: Epochs that were trained.
        started: When this process began to train, by the monotonic clock.
        check_stop: Called between any two parts of the work; may raise to stop it.
    """
    split: Split = "test" if len(plan.photos.rows.get("test", ())) else "val"
    if split == "val":
        terminal.warn(
            "there is no test split: the final score is that of the validation split, which chose the weights"
        )
    model = load_model(run.best_checkpoint)
    records = plan.photos.records(split)
    batches = evaluation_loader(  # all of them: the trainer's own loader holds one rank's share
        records,
        plan.photos.labels(split),
        plan.preprocessing,
        batch_size=plan.config.data.batch_size,
        num_workers=plan.config.data.num_workers,
        max_pixels=plan.config.data.max_image_pixels,
        as_float=False,
    )
    with terminal.progress(f"scoring {split}", "images") as progress:
        scores, predictions = score_model(
            model,
            _between(batches, check_stop),
            len(plan.photos.classes),
            device=device,
            precision=plan.config.trainer.precision,  # type: ignore[arg-type]  # "auto" has been decided
            preprocessing=plan.preprocessing,
            progress=count_up(progress, len(records)),
        )
    check_stop()
    intervals = score_intervals(scores)
    results: dict[str, Any] = {
        "monitor": plan.config.checkpoint.monitor,
        "best": {"epoch": best_epoch, plan.config.checkpoint.monitor: best_score},
        split: scores.to_dict(plan.photos.classes) | {"intervals": intervals.to_dict()},
        "epochs": num_epochs,
        "seconds": round(time.monotonic() - started, 1),
        "left_out": [image.path for image in plan.photos.bad],
        "export": None,
    }
    write_json(run.results, results)
    with warn_instead_of_raise(f"{run.scored(split).root}"):  # the score is safe, and the export is still to come
        _write_scored(run, plan, split, best_epoch, scores, predictions, intervals)
    if plan.config.report.enabled:
        _plot_examples(run, plan, split, best_epoch, scores, predictions, model, device)
    else:
        with warn_instead_of_raise(f"the removal of older images from {run.scored(split).root}"):
            run.scored(split).remove_examples()  # of the weights that were the best before the run was resumed
    show_scores(terminal, scores, plan.photos.classes, f"{split} scores of epoch {best_epoch + 1}, the best")
    terminal.info(summarise(scores))
    check_stop()
    if plan.config.export.enabled:
        results["export"] = export_checkpoint(run, plan.config.export, terminal)
        write_json(run.results, results | {"seconds": round(time.monotonic() - started, 1)})
    if plan.config.report.enabled:
        with warn_instead_of_raise(run.report.name):
            report(run.root)
    show_files(run, terminal)
    took = duration(time.monotonic() - started)
    low, high = intervals.top1
    terminal.result(
        f"{split} top-1 {scores.top1:.2%} (95 % interval {low:.2%} to {high:.2%}) on {scores.num_images} images after"
        f" {took}: {run.root}"
    )
    return TrainResult(
        run=run.root,
        best_checkpoint=run.best_checkpoint,
        best_epoch=best_epoch,
        best_score=best_score,
        split=split,
        test=scores,
        intervals=intervals,
        onnx=run.onnx if plan.config.export.enabled else None,
    )


def _between(batches: Iterable[ClassificationBatch], check_stop: Callable[[], None]) -> Iterator[ClassificationBatch]:
    for batch in batches:
        check_stop()
        yield batch


def _plot_examples(
    run: RunFolder,
    plan: Plan,
    split: Split,
    epoch: int,
    scores: Scores,
    predictions: Predictions,
    model: BaseClassificationModel,
    device: torch.device,
) -> None:
    """Draws what the best weights said of each image, and what they looked at."""
    photos, settings, max_pixels = plan.photos, plan.config.report, plan.config.data.max_image_pixels
    records = photos.records(split)
    cam = cam_function(model, records, predictions, device, max_pixels=max_pixels) if settings.grad_cam else None
    plot_examples(
        run.scored(split),
        scores,
        predictions,
        records,
        photos.classes,
        plan.preprocessing,
        description=f"the {split} split of {shown_root(photos.root)}",
        num_pictures=settings.num_pictures,
        epoch=epoch,
        cam=cam,
        max_pixels=max_pixels,
    )


def _write_scored(
    run: RunFolder,
    plan: Plan,
    split: Split,
    epoch: int,
    scores: Scores,
    predictions: Predictions,
    intervals: ScoreIntervals,
) -> None:
    """Writes what the best weights said of each image."""
    photos = plan.photos
    records = photos.records(split)
    write_scored(
        run.scored(split),
        scores,
        predictions,
        photos.classes,
        [str(record) for record in records],
        description=f"the {split} split of {shown_root(photos.root)}",
        split=split,
        epoch=epoch,
        model=run.best_checkpoint.relative_to(run.root).as_posix(),
        left_out=[image.path for image in photos.bad],
        intervals=intervals,
    )


def finished_result(run: RunFolder, config: Config, *, num_epochs: int, best_epoch: int) -> TrainResult | None:
    """What a run has reached of which nothing is left to do; None: its weights are to be scored, or exported.

    Args:
        run: The run folder.
        config: Its configuration, with what a resume has changed.
        num_epochs: Epochs that are trained.
        best_epoch: Epoch of the best weights, from 0.
    """
    if not run.results.is_file() or not run.best_checkpoint.is_file():
        return None
    results = json.loads(run.results.read_text(encoding="utf-8"))
    if results["epochs"] != num_epochs or results["best"]["epoch"] != best_epoch:
        return None
    if config.export.enabled and not _is_exported(run, config.export, results["export"]):
        return None
    split = "test" if "test" in results else "val"
    counts = results[split]
    scores = scores_from_confusion(np.array(counts["confusion"]), round(counts["top5"] * counts["num_images"]))
    return TrainResult(
        run=run.root,
        best_checkpoint=run.best_checkpoint,
        best_epoch=best_epoch,
        best_score=results["best"][results["monitor"]],
        split=split,
        test=scores,
        intervals=score_intervals(scores),
        onnx=run.onnx if config.export.enabled else None,
    )


def _is_exported(run: RunFolder, config: ExportConfig, figures: dict[str, Any] | None) -> bool:
    """Whether the export is there, whole and made as configured."""
    wanted = config.model_dump(exclude={"enabled"}).items()
    files = (run.onnx, run.labels_mapping, run.verification)
    return figures is not None and wanted <= figures.items() and all(path.is_file() for path in files)
