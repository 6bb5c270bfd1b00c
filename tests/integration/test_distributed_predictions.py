"""Two processes tell of each image what one process tells."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.cli import WarmProgram
from tests.helpers.photos import make_photos
from tests.helpers.ranks import gloo, run_ranks
from tests.helpers.training import IMAGE_SIZE, make_model, make_trainer

from classifier_training.callbacks import ConfusionMatrixCallback, PredictionsCallback, SampleVisualizationCallback
from classifier_training.data import ImageFolderDataModule

NUM_IMAGES = 7 + 6


def validate(folder: Path, world_size: int, images: str) -> Any:
    """Validates and tests; what this rank holds then, and what it has warned of."""
    data = ImageFolderDataModule(images, image_size=IMAGE_SIZE, batch_size=4 // world_size, num_workers=0)
    predictions = PredictionsCallback(folder / "run")
    callbacks: list[Any] = [
        SampleVisualizationCallback(folder / "run"),
        ConfusionMatrixCallback(folder / "run"),
        predictions,
    ]
    trainer = make_trainer(folder, *callbacks, strategy=gloo(), devices=world_size, use_distributed_sampler=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trainer.validate(make_model(classes=2), datamodule=data, verbose=False)
    assert predictions.latest is not None
    assert predictions.latest_scores is not None
    return {
        "labels": predictions.latest.labels.tolist(),
        "losses": predictions.latest.losses.tolist(),
        "top5": predictions.latest_scores.top5,
        "warnings": [str(one.message) for one in told if "could not be made" in str(one.message)],
    }


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"train/a": 2, "train/b": 2, "val/a": 7, "val/b": 6}
    return make_photos(tmp_path_factory.mktemp("pictures"), counts)


def test_two_processes_write_what_one_writes(program: WarmProgram, images: Path, tmp_path: Path) -> None:
    answers = {
        world_size: run_ranks(program, validate, world_size, tmp_path / str(world_size), images=str(images))
        for world_size in (1, 2)
    }
    one, two = answers[1], answers[2]
    assert two[0] == two[1], "the ranks know different things"
    assert two[0]["labels"] == one[0]["labels"] == [0] * 7 + [1] * 6
    assert two[0]["losses"] == pytest.approx(one[0]["losses"], abs=1e-5)
    assert not two[0]["warnings"]
    folders = [tmp_path / str(world_size) / "run" / "val" for world_size in (1, 2)]
    names = [sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) for folder in folders]
    assert names[0] == names[1]
    assert {"confusion_matrix.png", "pictures.json", "pictures/12.jpg", "samples.png", "scores.json"} <= set(names[0])
    assert (
        folders[0].joinpath("confusion_matrix.csv").read_bytes()
        == folders[1].joinpath("confusion_matrix.csv").read_bytes()
    )
    for name in ("top1", "top5", "balanced_accuracy", "num_images", "description"):
        values = [json.loads((folder / "scores.json").read_text())[name] for folder in folders]
        assert values[0] == values[1], name
    for index in range(NUM_IMAGES):
        small = [(folder / "pictures" / f"{index}.jpg").read_bytes() for folder in folders]
        assert small[0] == small[1]
