"""Scores an exported model on labelled files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from classifier_training.errors import BadImageError, DataError
from classifier_training.inference.classifier import Classifier
from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.scores import Predictions, Scores
from classifier_training.types import ImageRecord, OnBadImage


def evaluate_samples(
    classifier: Classifier,
    samples: Sequence[tuple[str | ImageRecord, int]],
    batch_size: int = 32,
    progress: Callable[[int], None] | None = None,
    *,
    on_bad_image: OnBadImage = "raise",
    on_skip: Callable[[str, BadImageError], None] | None = None,
) -> tuple[Scores, Predictions]:
    """Computes the scores of one pass over ``samples``.

    For the logits themselves, see `Classifier.logits_of_files`.

    Args:
        classifier: The exported model.
        samples: File and class index of each image; the index counts in ``classifier.classes``.
        batch_size: Images per run of the model.
        progress: Called after each batch with the number of images in it.
        on_bad_image: ``raise`` stops at a file that is no image; ``skip`` leaves it out of the scores.
        on_skip: Called with the path and the error of a file left out; None logs a warning.

    Returns:
        The scores, and what was said of every image that was not left out; its probabilities are kept as far as
        `ScoringPass` has room.

    Raises:
        BadImageError: A file is no image and ``on_bad_image`` is ``raise``.
        DataError: There is no image to score.
    """
    labels = np.array([label for _, label in samples], np.int64)
    if not samples:
        raise DataError("there is no image to score")
    scoring = ScoringPass(len(classifier.classes))
    paths = [path for path, _ in samples]
    for positions, logits in classifier.logits_of_files(paths, batch_size, on_bad_image, on_skip):
        scoring.update(logits, labels[positions])
        if progress is not None:
            progress(len(positions))
    return scoring.result()
