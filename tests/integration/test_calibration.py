"""One temperature everywhere: training, checkpoint, export, evaluation, prediction."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from tests.helpers.cli import TINY, WarmProgram, make_shapes

from classifier_training.inference.classifier import OnnxClassifier
from classifier_training.metrics.intervals import CONFIDENCE_LEVEL
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.pages.read.run_data import read_run
from classifier_training.pages.sections.calibration import calibration_section
from classifier_training.run.folder import RunFolder


@pytest.fixture(scope="module")
def run(program: WarmProgram) -> RunFolder:
    """Half of the photos are for validation, and a quarter are of another class than their label."""
    photos = make_shapes(program.folder / "mislabelled", 32)
    for number in range(0, 32, 4):
        (photos / "red" / f"{number:02d}.png").rename(photos / "green" / f"red-{number}.png")
    settings = ("data.val_fraction=0.4", "data.test_fraction=0.2", "trainer.max_epochs=6")
    finished = program("train", "mislabelled", *TINY, *settings, "optimizer.lr=5e-3", "run.name=calibrated")
    assert finished.code == 0, finished
    assert "the temperature was fitted on" in finished.out
    return RunFolder(program.folder / "runs" / "calibrated")


def test_the_run_the_checkpoint_and_the_export_have_one_temperature(run: RunFolder) -> None:
    record = json.loads(run.results.read_text(encoding="utf-8"))["temperature"]
    checkpoint = read_checkpoint(run.best_checkpoint)

    assert record["reason"] == ""
    assert record["num_images"] >= 30
    assert record["split"] == "test"
    assert record["value"] != 1
    assert checkpoint["temperature"] == load_model(run.best_checkpoint).temperature == record["value"]
    assert "temperature" not in read_checkpoint(run.last_checkpoint)
    assert OnnxClassifier(run.onnx).card.temperature == record["value"]
    scores = json.loads(run.scored("test").scores.read_text(encoding="utf-8"))
    assert scores["confidence_level"] == CONFIDENCE_LEVEL
    assert {key: scores["temperature"][key] for key in ("before", "after")} == {
        key: record[key] for key in ("before", "after")
    }
    assert scores["temperature"]["after"]["error"] == scores["calibration"]["expected_calibration_error"]


@pytest.mark.parametrize("model", ["runs/calibrated", "runs/calibrated/export/model.onnx"])
def test_evaluate_gives_the_probabilities_of_the_run(
    program: WarmProgram, run: RunFolder, tmp_path_factory: pytest.TempPathFactory, model: str
) -> None:
    folder = tmp_path_factory.mktemp("evaluation") / "new"

    found = program("evaluate", model, "--json", "--output", folder).json

    expected = json.loads(run.results.read_text(encoding="utf-8"))["temperature"]
    assert found["temperature"]["temperature"] == expected["value"]
    assert found["temperature"]["before"]["error"] == pytest.approx(expected["before"]["error"], abs=1e-5)
    assert found["expected_calibration_error"] == pytest.approx(expected["after"]["error"], abs=1e-5)
    probabilities = np.load(run.scored("test").probabilities)
    np.testing.assert_allclose(np.load(folder / "probabilities.npy"), probabilities, atol=1e-5)


def test_predict_gives_them_too(program: WarmProgram, run: RunFolder) -> None:
    with run.scored("test").predictions.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = program("predict", "runs/calibrated", *(row["file"] for row in rows), "--output", "predicted.csv")
    assert found.code == 0, found
    with (program.folder / "predicted.csv").open(encoding="utf-8", newline="") as file:
        predicted = list(csv.DictReader(file))

    assert [row["label"] for row in predicted] == [row["predicted"] for row in rows]
    confidence = [float(row["confidence"]) for row in rows]
    assert [float(row["probability"]) for row in predicted] == pytest.approx(confidence, abs=1e-5)


def test_the_report_shows_both(run: RunFolder) -> None:
    section = calibration_section(read_run(run.root))

    assert "Confidences have the temperature" in section.lead
    assert section.values["has_before"]
    assert 'class="dot kind-2"' in section.values["diagram"]
