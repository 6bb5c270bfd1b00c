"""The first command that a user types: no model, no recipe, no weights are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from tests.helpers.cli import WarmProgram, make_shapes
from tests.helpers.images import make_image

QUICK = (
    "data.num_workers=0",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "report.enabled=false",
    "tracking.tensorboard=false",
    "export.enabled=false",
    "run.name=first",
)


def test_small_images_become_a_run_from_scratch_that_resumes_with_what_was_chosen(
    program: WarmProgram, tmp_path: Path
) -> None:
    make_shapes(tmp_path / "photos", 8)
    finished = program("train", "photos", *QUICK, folder=tmp_path)
    assert finished.code == 0, finished
    assert "recipe=auto" in finished.out
    config = yaml.safe_load((tmp_path / "runs" / "first" / "config.yaml").read_text())
    assert (config["model"]["name"], config["recipe"]["name"]) == ("resnet10t", "scratch")
    assert (config["model"]["pretrained"], config["data"]["image_size"]) == (False, 32)

    resumed = program("train", "--resume", "runs/first", "trainer.max_epochs=2", folder=tmp_path)
    assert resumed.code == 0, resumed
    assert "auto" not in resumed.out, "nothing is decided anew"


def test_photos_are_fine_tuned_from_weights_of_a_package_without_a_network(
    program: WarmProgram, tmp_path: Path
) -> None:
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 255, (80, 90, 3), dtype=np.uint8)
        make_image(tmp_path / "photos" / ("train", "val")[number % 2] / "ab"[number // 4] / f"{number}.png", pixels)
    settings = (*QUICK, "data.image_size=32", "data.batch_size=2", "checkpoint.choose_final=false")
    finished = program("train", "photos", *settings, folder=tmp_path)
    assert finished.code == 0, finished
    config = yaml.safe_load((tmp_path / "runs" / "first" / "config.yaml").read_text())
    assert config["model"]["name"].startswith("tf_efficientnet_lite")
    assert (config["model"]["pretrained"], config["recipe"]["name"]) == (True, "finetune")
    weights = json.loads((tmp_path / "runs" / "first" / "environment.json").read_text())["weights"]
    assert weights["source"] == "package"
    assert len(weights["sha256"]) == 64
