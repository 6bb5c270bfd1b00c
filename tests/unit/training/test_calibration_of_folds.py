"""The final model of a cross-validation has trained on its validation photos: what the folds have shown holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier_training.config.schema import DecisionConfig
from classifier_training.models.checkpoint import write_checkpoint
from classifier_training.models.decision import ValidatedImages, fit_decision
from classifier_training.results.decision_effect import decision_effect
from classifier_training.run.folds_folder import FoldsFolder
from classifier_training.training.calibration_of_folds import TRAINED_ON, calibration_of_folds


def sampled(seed: int) -> ValidatedImages:
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.5, 1, 40).astype(np.float32)
    is_correct = generator.random(40) < confidence
    return ValidatedImages(confidence, is_correct, np.where(is_correct, confidence, 1 - confidence).astype(np.float32))


def write_fold(folder: FoldsFolder, number: int, **values: Any) -> None:
    settings = {"backbone": "resnet18", "classes": ["a"], "preprocessing": {}}
    content = {"state_dict": {}, "hyper_parameters": settings, "epoch": 0, "global_step": 1, **values}
    path = folder.run(number).best_checkpoint
    path.parent.mkdir(parents=True)
    write_checkpoint(content, path)


def test_the_mean_of_the_temperatures_and_all_images_of_the_folds(tmp_path: Path) -> None:
    folder, parts = FoldsFolder(tmp_path), [sampled(1), sampled(2), sampled(3)]
    for number, (temperature, part) in enumerate(zip((0.5, 2.0, None), parts, strict=True), start=1):
        known = {} if temperature is None else {"temperature": temperature}
        write_fold(folder, number, **known, validation_images=part.to_tensors())

    fitted, images, num_folds = calibration_of_folds(folder.run("all"), 3)

    assert fitted.is_fitted
    assert fitted.value == pytest.approx(1.0)
    assert fitted.num_images == 120
    assert num_folds == 3
    assert images is not None
    np.testing.assert_array_equal(images.confidence, np.concatenate([part.confidence for part in parts]))


@pytest.mark.parametrize("num_found", [0, 1])
def test_where_the_folds_know_nothing_nothing_is_fitted_to_photos_that_were_trained_on(
    tmp_path: Path, num_found: int
) -> None:
    for number in range(1, num_found + 1):
        write_fold(FoldsFolder(tmp_path), number)

    fitted, images, num_folds = calibration_of_folds(FoldsFolder(tmp_path).run("all"), 2)

    assert (fitted.is_fitted, fitted.reason, images, num_folds) == (False, TRAINED_ON, None, 0)


def test_what_the_thresholds_hold_is_known_without_the_classes() -> None:
    images = sampled(0)
    decision, _ = fit_decision(images, DecisionConfig(target_coverage=0.5, set_coverage=0.9))
    assert decision is not None

    effect = decision_effect(images.to_predictions(), decision.abstain_threshold, decision.set_threshold)

    assert effect is not None
    assert effect.abstention is not None
    assert effect.sets is not None
    is_answered = images.confidence >= (decision.abstain_threshold or 0)
    assert effect.abstention.coverage == 0.5
    assert effect.abstention.precision == images.is_correct[is_answered].mean()
    assert effect.sets.coverage == pytest.approx(37 / 40, abs=1 / 40)
