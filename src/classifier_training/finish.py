"""The end of a training: the test score of the best weights, the export, and the list of what was written."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classifier_training.config.schema import Config, ExportConfig
from classifier_training.data.inspect import count_up
from classifier_training.data.loaders import evaluation_loader
from classifier_training.data.sources.listing import Split
from classifier_training.exporting import export_checkpoint
from classifier_training.models.checkpoint import load_model
from classifier_training.plan import Plan
from classifier_training.runs import RunFolder, write_json
from classifier_training.score_table import show_scores, summarise
from classifier_training.scores import Scores, scores_from_confusion
from classifier_training.scoring import score_model
from classifier_training.terminal import Terminal, duration


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
        onnx: The proven export; None where it was switched off.
    """

    run: Path
    best_checkpoint: Path
    best_epoch: int
    best_score: float
    split: str
    test: Scores
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
) -> TrainResult:
    """Scores ``best.ckpt``, writes ``results.json``, exports, and shows every file.

    Args:
        run: The run folder.
        plan: What was trained.
        terminal: Where to say it.
        device: Where to score.
        best_epoch: Epoch of the best weights, from 0.
        best_score: Their monitored metric.
        num_epochs: Epochs that were trained.
        started: When this process began to train, by the monotonic clock.
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
        scores = score_model(
            model,
            batches,
            len(plan.photos.classes),
            device=device,
            precision=plan.config.trainer.precision,  # type: ignore[arg-type]  # "auto" has been decided
            preprocessing=plan.preprocessing,
            progress=count_up(progress, len(records)),
        )
    results: dict[str, Any] = {
        "monitor": plan.config.checkpoint.monitor,
        "best": {"epoch": best_epoch, plan.config.checkpoint.monitor: best_score},
        split: scores.to_dict(plan.photos.classes),
        "epochs": num_epochs,
        "seconds": round(time.monotonic() - started, 1),
        "left_out": [image.path for image in plan.photos.bad],
        "export": None,
    }
    write_json(run.results, results)
    show_scores(terminal, scores, plan.photos.classes, f"{split} scores of epoch {best_epoch + 1}, the best")
    terminal.say(summarise(scores))
    if plan.config.export.enabled:
        results["export"] = export_checkpoint(run, plan.config.export, terminal)
        write_json(run.results, results | {"seconds": round(time.monotonic() - started, 1)})
    _show_files(run, terminal)
    took = duration(time.monotonic() - started)
    terminal.result(f"{split} top-1 {scores.top1:.2%} on {scores.num_images} images after {took}: {run.root}")
    return TrainResult(
        run=run.root,
        best_checkpoint=run.best_checkpoint,
        best_epoch=best_epoch,
        best_score=best_score,
        split=split,
        test=scores,
        onnx=run.onnx if plan.config.export.enabled else None,
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
    return TrainResult(
        run=run.root,
        best_checkpoint=run.best_checkpoint,
        best_epoch=best_epoch,
        best_score=results["best"][results["monitor"]],
        split=split,
        test=scores_from_confusion(np.array(counts["confusion"]), round(counts["top5"] * counts["num_images"])),
        onnx=run.onnx if config.export.enabled else None,
    )


def _is_exported(run: RunFolder, config: ExportConfig, figures: dict[str, Any] | None) -> bool:
    """Whether the export is there, whole and made as configured."""
    wanted = config.model_dump(exclude={"enabled"}).items()
    files = (run.onnx, run.labels_mapping, run.verification)
    return figures is not None and wanted <= figures.items() and all(path.is_file() for path in files)


_MEANING = {
    "config.yaml": "the whole configuration; train --config repeats the run",
    "environment.json": "versions, hardware, seed, data fingerprint",
    "metrics.csv": "every metric of every epoch",
    "timings.csv": "how long every epoch took",
    "results.json": "the scores",
    "train.log": "what was said here",
    "data/split.csv": "which photo was in which split",
    "checkpoints/best.ckpt": "the weights that scored best",
    "checkpoints/last.ckpt": "where train --resume goes on",
    "checkpoints/last-1.ckpt": "the one before last.ckpt, for when that is damaged",
    "export/model.onnx": "the model to deploy",
    "export/labels_mapping.json": "class names and preprocessing",
    "export/verification.json": "the proof that model.onnx answers like best.ckpt",
}


def _show_files(run: RunFolder, terminal: Terminal) -> None:
    rows = {path.relative_to(run.root).as_posix(): path for path in run.written_files()}
    terminal.pairs(f"files in {run.root}", {name: _MEANING.get(name, "") for name in rows})
