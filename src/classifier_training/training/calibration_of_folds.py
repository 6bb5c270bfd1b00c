"""The temperature and the thresholds of the final model of a cross-validation, which has trained on all photos.

Its own validation photos are among these, and too easy for it; what the models of the folds have shown on photos that
they did not train on is known instead.
"""

from __future__ import annotations

import numpy as np

from classifier_training.metrics.temperature import TEMPERATURE, FittedTemperature
from classifier_training.models.checkpoint import read_checkpoint
from classifier_training.models.decision import VALIDATED, ValidatedImages
from classifier_training.run.folder import RunFolder
from classifier_training.run.folds_folder import FoldsFolder

TRAINED_ON = "its validation photos are among those that it was trained on, and nothing is known of the folds"


def calibration_of_folds(run: RunFolder, num_folds: int) -> tuple[FittedTemperature, ValidatedImages | None, int]:
    """What the folds give to the final model.

    Args:
        run: The final model's run, beside those of the folds.
        num_folds: How many there are.

    Returns:
        The geometric mean of their temperatures; what is known of all their validation images, with the temperature of
        each; and how many folds that is.
    """
    runs = [FoldsFolder(run.root.parent).run(number + 1) for number in range(num_folds)]
    checkpoints = [read_checkpoint(one.best_checkpoint) for one in runs if one.best_checkpoint.is_file()]
    parts = [ValidatedImages.from_tensors(one[VALIDATED]) for one in checkpoints if VALIDATED in one]
    temperatures = [one[TEMPERATURE] for one in checkpoints if TEMPERATURE in one]
    images = ValidatedImages.joined(parts) if parts else None
    num_images = 0 if images is None else len(images)
    if not temperatures:
        reason = "none of the folds has one" if parts else TRAINED_ON
        return FittedTemperature(1.0, num_images, reason), images, len(parts)
    return FittedTemperature(float(np.exp(np.mean(np.log(temperatures)))), num_images), images, len(parts)
