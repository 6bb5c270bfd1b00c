"""Which epochs are kept; their files are those of a real training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, KillAfter, KilledError, fit_photos

from classifier_training.callbacks.best_epochs import BestEpochs
from classifier_training.metrics.best_epoch import EpochScore
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.run.checkpoint_files import epoch_checkpoints

pytestmark = LIGHTNING_NOTICES


@pytest.mark.parametrize(
    ("mode", "scores", "kept"),
    [
        ("max", [0.1, 0.5, 0.3, 0.2], [1, 2]),
        ("min", [0.1, 0.5, 0.3, 0.2], [0, 3]),
        ("max", [0.4, 0.4, 0.4], [0, 1]),
        ("min", [math.nan, 0.5], [1]),
    ],
)
def test_the_best_are_kept_and_of_equal_ones_the_earlier(mode: Any, scores: list[float], kept: list[int]) -> None:
    best = BestEpochs(Path(), 2, mode)
    taken = [best.offer(epoch, EpochScore(score)) for epoch, score in enumerate(scores)]
    assert sorted(best.scores) == kept
    assert all(taken[epoch] for epoch in kept)


def test_of_equal_scores_the_lower_loss_is_kept_and_a_repeated_epoch_counts_once() -> None:
    best = BestEpochs(Path(), 2, "max")
    for epoch, loss in ((0, 0.3), (1, 0.5), (1, 0.5), (2, 0.1)):
        best.offer(epoch, EpochScore(1.0, loss))
    assert sorted(best.scores) == [0, 2]
    again = BestEpochs(Path(), 2, "max")
    again.load_state_dict(best.state_dict())
    assert again.scores == best.scores


def test_no_epoch_is_kept_unless_asked() -> None:
    assert not BestEpochs(Path(), 0, "max").offer(0, EpochScore(1.0))


def test_a_training_keeps_the_weights_of_its_best_epochs_also_when_it_is_resumed(tmp_path: Path, photos: Path) -> None:
    options: dict[str, Any] = {"keep_best": 2, "max_epochs": 3}
    fit_photos(tmp_path / "whole", photos, **options)
    with pytest.raises(KilledError):
        fit_photos(tmp_path / "parts", photos, KillAfter(10), **options)
    fit_photos(tmp_path / "parts", photos, **options)

    whole, parts = (epoch_checkpoints(tmp_path / name) for name in ("whole", "parts"))
    state = read_checkpoint(tmp_path / "whole" / "last.ckpt")["callbacks"]["RunCheckpoint"]["best_epochs"]
    assert list(whole) == list(parts) == [row[0] for row in state]
    for epoch, path in whole.items():
        assert path.read_bytes() == parts[epoch].read_bytes()
        assert read_checkpoint(path)["epoch"] == epoch
        assert path.stat().st_size < (tmp_path / "whole" / "last.ckpt").stat().st_size / 2
    best = read_checkpoint(tmp_path / "whole" / "best.ckpt")
    scored = load_model(whole[best["epoch"]]).state_dict()
    assert all(torch.equal(value, scored[name]) for name, value in best["state_dict"].items())
