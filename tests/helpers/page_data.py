"""What a page shows, made in memory: for tests of the messages of a single section."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classifier_training.metrics.confusion import Confusion
from classifier_training.metrics.scores import scores_from_confusion
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.scored_data import Example, ScoredData
from classifier_training.results.scores_file import CalibrationBin, CalibrationBins, ClassRow, CoveragePoint
from classifier_training.run.statistics import Statistics
from classifier_training.run.verification import Verification


def make_scored(confusion: Sequence[Sequence[int]] = ((90, 10), (5, 95)), **changes: Any) -> ScoredData:
    """Scores that follow from a confusion matrix.

    Args:
        confusion: Counts, rows are the true class; the classes are called ``class 0`` …
        changes: Other attributes of `ScoredData`.
    """
    counts = np.array(confusion, dtype=np.int64)
    scores = scores_from_confusion(counts, int(counts.sum()))
    names = changes.get("classes") or tuple(f"class {index}" for index in range(len(counts)))
    rows = tuple(
        ClassRow(name=name, precision=one.precision, recall=one.recall, f1=one.f1, support=one.support)
        for name, one in zip(names, scores.classes, strict=True)
    )
    values: dict[str, Any] = {
        "root": Path("run/test"),
        "description": "the test split of /photos",
        "split": "test",
        "epoch": 2,
        "model": "checkpoints/best.ckpt",
        "classes": names,
        "num_images": scores.num_images,
        "top1": scores.top1,
        "top5": scores.top5,
        "balanced_accuracy": scores.balanced_accuracy,
        "macro_f1": scores.macro_f1,
        "confidence_level": 0.95,
        "intervals": {"top1": (0.873, 0.951)},
        "per_class": rows,
        "calibration": CalibrationBins(0.05, (CalibrationBin(0.5, 1.0, scores.num_images, 0.95, scores.top1),)),
        "coverage": (CoveragePoint(0.0, 1.0, scores.top1), CoveragePoint(0.8, 0.6, 0.99)),
        "num_trained_on": 0,
        "left_out": (),
        "confusion": Confusion.from_matrix(counts),
        "images": (),
        "predictions": None,
    }
    return ScoredData(**(values | changes))


def make_example(**changes: Any) -> Example:
    """An image that was wrongly classified and is gone since; ``changes`` are attributes of `Example`."""
    values: dict[str, Any] = {
        "index": 7,
        "file": "/photos/a.jpg",
        "true": 0,
        "predicted": 1,
        "confidence": 0.9,
        "loss": 2.5,
        "why": frozenset({"worst"}),
        "thumbnail": None,
        "cam": None,
    }
    return Example(**(values | changes))


def make_run(**changes: Any) -> RunData:
    """A finished run of which little is known; ``changes`` are attributes of `RunData`."""
    scored = make_scored()
    values: dict[str, Any] = {
        "root": Path("run"),
        "name": "run",
        "status": "finished",
        "classes": scored.classes,
        "num_epochs": 3,
        "max_epochs": 3,
        "seconds": 61.0,
        "best_epoch": 2,
        "best_score": 0.9,
        "final": scored,
    }
    return RunData(**(values | changes))


def make_statistics(**changes: Any) -> Statistics:
    """Counts of two equal classes; ``changes`` are attributes of `Statistics`."""
    values: dict[str, Any] = {
        "root": "/photos",
        "num_images": 100,
        "classes": ("a", "b"),
        "counts": {"train": (50, 50)},
        "imbalance_ratio": 1.0,
        "histograms": {},
        "modes": {},
    }
    return Statistics(**(values | changes))


def make_verification(**changes: Any) -> Verification:
    """A comparison that passed; ``changes`` are attributes of `Verification`."""
    values: dict[str, Any] = {
        "passed": True,
        "num_images": 32,
        "tolerance": 1e-3,
        "top1_agreement": 1.0,
        "max_abs_logit_difference": 6.67e-6,
        "sha256": "a" * 64,
    }
    return Verification(**(values | changes))
