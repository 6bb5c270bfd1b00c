"""Many classes: from the logits of a pass to its files and its page, in seconds and megabytes.

Run: python benchmarks/classes.py [--classes 10000] [--images 50000] [--validation-images 2560]

The logits are random; one image in two is predicted correctly, the others as a random class. Peak memory is that of the
whole process (ru_maxrss), less what it had before the first step.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.intervals import score_intervals
from classifier_training.models.metrics import ClassificationCounts, most_probable_classes
from classifier_training.pages.write import report
from classifier_training.results.figures import plot_confusion_figures
from classifier_training.results.folder import write_scored
from classifier_training.results.results_file import ResultsFile, split_scores, write_results
from classifier_training.results.scored_pass import LabelledImages, ScoredPass
from classifier_training.run.folder import ScoredFolder

BATCH = 128


def batches(num_classes: int, num_images: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Logits (B, K) with their labels (B,)."""
    generator = np.random.default_rng(0)
    for start in range(0, num_images, BATCH):
        size = min(BATCH, num_images - start)
        labels = generator.integers(0, num_classes, size)
        logits = generator.random((size, num_classes), np.float32)
        logits[np.arange(0, size, 2), labels[::2]] += 2
        yield logits, labels


def megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def validate(num_classes: int, num_images: int) -> None:
    """Counts as the validation of a training does."""
    counts = ClassificationCounts(num_classes)
    for logits, labels in batches(num_classes, num_images):
        of_batch = torch.from_numpy(logits)
        counts.update(of_batch, most_probable_classes(of_batch), torch.from_numpy(labels))
    if num_images:
        counts.compute()


class Steps:
    """Prints the seconds and the peak memory of each step; the time between two steps counts for the later one."""

    def __init__(self) -> None:
        self.before, self.last = megabytes(), time.perf_counter()

    def done(self, name: str) -> None:
        """Ends a step."""
        now = time.perf_counter()
        print(f"{name:34} {now - self.last:8.2f} s   peak {megabytes() - self.before:8,.0f} MB", flush=True)
        self.last = time.perf_counter()


def main() -> None:
    """Prints a line for each step and the sizes of the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--validation-images", type=int, default=2_560, help="images of the validation of a training")
    arguments = parser.parse_args()
    num_classes, num_images = arguments.classes, arguments.images
    names = tuple(f"class {number:05d}" for number in range(num_classes))
    torch.use_deterministic_algorithms(True, warn_only=True)  # as a training does
    steps = Steps()
    validate(num_classes, arguments.validation_images)
    steps.done(f"validation of {arguments.validation_images:,} images")
    scoring = ScoringPass(num_classes, max_probabilities=0)
    for logits, labels in batches(num_classes, num_images):
        scoring.update(logits, labels)
    scores, predictions = scoring.result()
    steps.done(f"scoring {num_images:,} images")
    intervals = score_intervals(scores)
    steps.done("intervals")
    images = LabelledImages([f"{number}.jpg" for number in range(num_images)], predictions.labels, names, "synthetic")
    scored = ScoredPass(images, "model", scores, predictions, intervals)
    with tempfile.TemporaryDirectory() as temporary:
        folder = ScoredFolder(Path(temporary))
        write_scored(folder, scored)
        steps.done("tables and scores.json")
        results = ResultsFile(monitor="val/top1", best={"epoch": 0, "val/top1": 0.5}, test=split_scores(scored),
                              epochs=1, seconds=1.0)  # fmt: skip
        write_results(folder.root / "results.json", results)
        steps.done("results.json")
        plot_confusion_figures(folder, scored)
        steps.done("figures of the confusion matrix")
        report(folder.root)
        steps.done("report.html")
        for path in sorted(folder.root.iterdir()):
            print(f"{path.name:34} {path.stat().st_size / 1e6:8.2f} MB")


if __name__ == "__main__":
    main()
