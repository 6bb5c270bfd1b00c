"""Recipes for training from random weights, run on a few images."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import yaml
from tests.helpers.cli import TINY, WarmProgram

from classifier_training.run.folder import RunFolder


@pytest.mark.parametrize("recipe", ["scratch_long", "scratch_32px"])
def test_a_recipe_from_scratch_trains_on_growing_and_mixed_images(
    program: WarmProgram, photos: Path, tmp_path: Path, recipe: str
) -> None:
    settings = (*TINY, "trainer.max_epochs=2", "data.mix_off_epochs=1", "export.enabled=false")

    finished = program("train", photos, f"recipe={recipe}", *settings, "run.name=scratch", folder=tmp_path)

    assert finished.code == 0, finished
    assert "16 px from epoch 1, 32 px from epoch 2" in " ".join(finished.out.split())
    assert "mixup 0.2 or CutMix 1, 50% of the batches, not in the last epoch" in " ".join(finished.out.split())
    run = RunFolder(tmp_path / "runs" / "scratch")
    config = yaml.safe_load(run.config.read_text())
    assert (config["recipe"]["name"], config["model"]["pretrained"]) == ("scratch", False)
    with run.metrics.open(newline="") as file:
        assert all(math.isfinite(float(row["train/loss"])) for row in csv.DictReader(file) if row["train/loss"])
