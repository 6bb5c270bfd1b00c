"""One temperature and one decision everywhere: training, checkpoint, export, evaluation, prediction."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from tests.helpers.cli import TINY, WarmProgram, make_shapes

from classifier_training.data.splits.file import read_split
from classifier_training.inference.classifier import OnnxClassifier
from classifier_training.metrics.intervals import CONFIDENCE_LEVEL
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.pages.read.run_data import read_run
from classifier_training.pages.sections.calibration import calibration_section
from classifier_training.run.folder import RunFolder

TARGET = ("--target-coverage", "0.75", "decision.set_coverage=0.8")


@pytest.fixture(scope="module")
def run(program: WarmProgram) -> RunFolder:
    """Half of the photos are for validation, and a quarter are of another class than their label."""
    photos = make_shapes(program.folder / "mislabelled", 32)
    for number in range(0, 32, 4):
        (photos / "red" / f"{number:02d}.png").rename(photos / "green" / f"red-{number}.png")
    settings = ("data.val_fraction=0.4", "data.test_fraction=0.2", "trainer.max_epochs=6")
    finished = program("train", "mislabelled", *TINY, *settings, "optimizer.lr=5e-3", "run.name=calibrated", *TARGET)
    assert finished.code == 0, finished
    assert "the temperature was fitted on" in finished.out
    assert "answering from a confidence of" in finished.out
    assert "prediction sets hold the true class of" in finished.out
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


def test_the_export_tells_what_it_answers_on_the_validation_images(run: RunFolder) -> None:
    classifier = OnnxClassifier(run.onnx)
    images = read_split(run.split, "val")

    answers = list(classifier.predict_files([sample.image for sample in images]))

    decision, validation = classifier.card.decision, classifier.card.validation
    assert decision is not None
    assert validation is not None
    labels = [answer.label for answer in answers]
    assert validation["predicted"] == {name: labels.count(name) for name in classifier.classes}
    assert validation["num_images"] == len(images)
    abstained = decision.decide([answer.probabilities for answer in answers]).abstain
    assert abs(validation["abstained"] - abstained.sum()) <= 1  # one lies at the threshold, to which it was fitted


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
    decision = section.values["decision"]
    assert decision["sentences"][0].startswith("The model answers from a confidence of ")
    assert [row["method"] for row in decision["sets"]] == ["LAC", "RAPS"]
    assert "from " in decision["risk"]


def test_the_run_the_checkpoint_and_the_export_have_one_decision(run: RunFolder) -> None:
    record = json.loads(run.results.read_text(encoding="utf-8"))["decision"]
    decision = load_model(run.best_checkpoint).decision

    assert decision is not None
    assert decision.num_images == record["num_images"] >= 30
    assert (decision.target_coverage, decision.set_coverage) == (0.75, 0.8)
    assert (decision.abstain_threshold, decision.set_threshold) == (
        record["abstain_threshold"],
        record["set_threshold"],
    )
    assert record["validation"]["abstention"]["coverage"] >= 0.75
    assert record["raps"]["method"] == "raps"
    deployed = OnnxClassifier(run.onnx).card.decision
    assert deployed is not None
    assert deployed.measured == {"split": "test", **record["measured"]}
    assert replace(deployed, measured=None) == decision
    scores = json.loads(run.scored("test").scores.read_text(encoding="utf-8"))
    assert scores["decision"] == record["measured"]


@pytest.mark.parametrize("model", ["runs/calibrated", "runs/calibrated/export/model.onnx"])
def test_evaluate_prints_what_it_holds(
    program: WarmProgram, run: RunFolder, tmp_path_factory: pytest.TempPathFactory, model: str
) -> None:
    measured = json.loads(run.results.read_text(encoding="utf-8"))["decision"]["measured"]
    found = program("evaluate", model, "--output", tmp_path_factory.mktemp("evaluation") / "new")

    assert f"coverage {measured['abstention']['coverage']:.4f}\n" in found.out
    assert f"precision {measured['abstention']['precision']:.4f}\n" in found.out
    assert "were fitted on these images" not in found.out + found.err


def test_evaluate_says_where_the_images_are_those_of_the_fit(
    program: WarmProgram, run: RunFolder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("evaluation") / "new"
    found = program("evaluate", run.onnx, "--split", "val", "--output", folder)

    assert "temperature and thresholds were fitted on these images" in found.out + found.err


def test_an_unproven_file_of_fewer_bits_has_no_figures_of_float32(program: WarmProgram, run: RunFolder) -> None:
    assert program("export", run.root, "--form", "fp16", "--unproven", "--quiet").code == 0

    path = run.export / "model_fp16.unproven.onnx"
    decision = OnnxClassifier(path).card.decision
    path.unlink()
    assert decision is not None
    assert decision.abstain_threshold is not None
    assert decision.measured is None


def test_other_targets_need_no_training_and_change_neither_run_nor_checkpoint(
    program: WarmProgram, run: RunFolder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = {path: path.read_bytes() for path in (run.best_checkpoint, run.results)}
    folder = tmp_path_factory.mktemp("evaluation") / "new"

    found = program("evaluate", "runs/calibrated", "--target-coverage", "1", "--json", "--output", folder).json
    exported = program("export", "runs/calibrated", "--target-precision", "0.1")

    assert found["decision"]["abstention"]["coverage"] == 1
    assert exported.code == 0, exported
    deployed = OnnxClassifier(run.onnx).card.decision
    assert deployed is not None
    assert (deployed.abstain_threshold, deployed.target_precision, deployed.target_coverage) == (0.0, 0.1, None)
    assert "answering from a confidence of 0 on: coverage 100.00% (" in exported.out
    assert deployed.measured is not None
    measured = json.loads(run.results.read_text(encoding="utf-8"))["decision"]["measured"]
    assert deployed.measured["sets"] == measured["sets"]
    top1 = json.loads(run.scored("test").scores.read_text(encoding="utf-8"))["top1"]
    assert deployed.measured["abstention"]["precision"] == top1
    assert before == {path: path.read_bytes() for path in before}
    assert program("export", "runs/calibrated", "--quiet").code == 0  # as it was
    assert OnnxClassifier(run.onnx).card.decision != deployed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "mislabelled", "--target-precision", "98"), "decision.target_precision"),
        (("train", "mislabelled", "--target-precision", "0.9", "--target-coverage", "0.9"), "leave one of them out"),
        (("evaluate", "runs/calibrated", "--target-coverage", "much"), "decision.target_coverage"),
        (("evaluate", "runs/calibrated/checkpoints/last.ckpt", "--target-coverage", "0.9"), "keeps no predictions of"),
        (("export", "runs/calibrated", "--target-coverage", "0"), "decision.target_coverage"),
    ],
)
def test_a_target_that_cannot_be_is_refused_in_one_line(
    program: WarmProgram, run: RunFolder, words: tuple[str, ...], message: str
) -> None:
    before = sorted(path for path in run.root.parent.rglob("*"))

    found = program(*words)

    assert found.code == 2
    assert message in found.err
    assert "Traceback" not in found.err
    assert len(found.err.strip().splitlines()) == 1
    assert sorted(path for path in run.root.parent.rglob("*")) == before
