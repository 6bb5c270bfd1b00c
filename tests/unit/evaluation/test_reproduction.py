from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classifier_training.config.schema import Config
from classifier_training.evaluation.reproduction import compare_score, is_same_arithmetic, rounded_tolerance
from classifier_training.metrics.confusion import Confusion
from classifier_training.metrics.scores import Scores, scores_from_confusion

CPU = torch.device("cpu")


def scores(*support: int) -> Scores:
    """All right, of so many images of each class."""
    return scores_from_confusion(Confusion.from_matrix(np.diag(support)), num_top5=sum(support))


@pytest.mark.parametrize(
    ("name", "support", "expected"),
    [
        ("top1", (40, 10), 2 / 50),
        ("top5", (300, 100), 0.005),
        ("top1", (3000, 1000), 0.005),
        ("balanced_accuracy", (40, 10, 0), 2 / (2 * 10)),  # a class without images has no recall
        ("macro_f1", (900, 100, 500), 2 / (3 * 100)),
    ],
)
def test_two_images_may_be_rounded_to_another_class(name: str, support: tuple[int, ...], expected: float) -> None:
    assert rounded_tolerance(name, scores(*support)) == pytest.approx(expected)


@pytest.mark.parametrize(("is_exact", "passed"), [(True, False), (False, True)])
def test_one_image_of_fifty(is_exact: bool, passed: bool) -> None:
    found = compare_score(0.98, scores(40, 10), Config(), is_exact=is_exact)

    assert (found.measured, found.passed) == (1.0, passed)


def test_three_images_of_fifty_are_no_rounding() -> None:
    assert not compare_score(0.94, scores(40, 10), Config(), is_exact=False).passed


@pytest.mark.parametrize(
    ("position", "trainer", "expected"),
    [
        ({"world_size": 1, "device": "cpu"}, {"devices": 1}, True),
        ({}, {"devices": 1}, True),
        ({"world_size": 2, "device": "cpu"}, {"devices": 1}, False),  # resumed on one device after the best epoch
        ({"world_size": 1, "device": "cuda"}, {"devices": 1}, False),
        ({"world_size": 1, "device": "cpu"}, {"devices": 2}, False),
    ],
)
def test_arithmetic_is_that_of_the_best_epoch(
    tmp_path: Path, position: dict[str, Any], trainer: dict[str, Any], expected: bool
) -> None:
    path = tmp_path / "best.ckpt"
    settings = {"backbone": "test", "classes": ("a", "b"), "preprocessing": {}}
    content = {"state_dict": {}, "hyper_parameters": settings, "epoch": 0, "global_step": 1}
    torch.save(content | {"ImageFolderDataModule": position}, path)

    assert is_same_arithmetic(Config.model_validate({"trainer": trainer}), CPU, path) is expected
