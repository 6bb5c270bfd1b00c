"""The model card: what it says of a run, what the hub reads of it, and what a person wrote into it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from tests.helpers.run_folders import HOSTILE_NAMES, RunMaker, edit_json

from classifier_training.errors import ExportError, RunError
from classifier_training.exporters.card_data import FIELDS, read_filled_in
from classifier_training.exporters.model_card import card_kept_current, escape_markdown, write_model_card
from classifier_training.results.decision_file import AbstentionFigures, DecisionEffect, DecisionRecord, SetFigures
from classifier_training.results.results_file import TemperatureRecord
from classifier_training.results.scores_file import CalibrationFigures, TemperatureEffect
from classifier_training.results.unknown_file import KindFigures, LeftOutClass, UnknownEffect, UnknownRecord
from classifier_training.run.folder import ExportFolder, RunFolder
from classifier_training.run.records import to_json


def write(run: RunFolder) -> list[str]:
    return write_model_card(run, read_filled_in(run.card_data))


def test_the_hub_reads_the_card(tmp_path: Path) -> None:
    run = RunMaker().make(tmp_path / "shirts")

    assert write(run) == []

    data = ModelCard.load(run.readme).data
    results = json.loads((run.scored("test").scores).read_text(encoding="utf-8"))
    assert (data.license, data.library_name, data.pipeline_tag) == ("unknown", "onnx", "image-classification")
    assert data.model_name == "shirts"
    found = {one.metric_type: one.metric_value for one in data.eval_results or ()}
    assert found == {
        "accuracy": results["top1"],
        "top5": results["top5"],
        "balanced_accuracy": results["balanced_accuracy"],
        "f1": results["macro_f1"],
    }
    assert run.readme.read_bytes() == run.card.read_bytes()


def test_the_card_has_the_facts_of_the_run(tmp_path: Path) -> None:
    run = RunMaker().make(tmp_path / "shirts")
    edit_json(run.environment, data_fingerprint="abc", git_commit="def", weights={
        "source": "file", "name": "/home/me/w.safetensors", "sha256": "123", "licence": "mit"})  # fmt: skip

    write(run)

    card = json.loads(run.card_data.read_text(encoding="utf-8"))
    scores = json.loads(run.scored("test").scores.read_text(encoding="utf-8"))
    statistics = json.loads(run.statistics.read_text(encoding="utf-8"))
    assert card["data"]["photos"] == statistics["counts"]
    assert card["scores"]["metrics"]["top1"] == {"value": scores["top1"], "interval": scores["intervals"]["top1"]}
    assert card["scores"]["per_class"] == scores["per_class"]
    assert card["scores"]["expected_calibration_error"] == scores["calibration"]["expected_calibration_error"]
    assert (card["hashes"]["data"], card["hashes"]["code"], card["hashes"]["weights_from"]) == ("abc", "def", "123")
    assert card["weights_from"]["licence"] == "mit"
    assert set(card["hashes"]["files"]) == {"model.onnx", "verification.json"}
    assert card["verification"]["onnx"]["passed"] is True
    assert set(card["fill_in"]) == set(FIELDS)
    assert "/home/me" not in run.card.read_text(encoding="utf-8") + run.card_data.read_text(encoding="utf-8")


def test_the_card_says_how_the_model_decides(tmp_path: Path) -> None:
    run = RunMaker().make(tmp_path / "shirts")
    before, after = (CalibrationFigures(error=error, interval=(0.01, 0.3), log_loss=0.5) for error in (0.2, 0.04))
    temperature = TemperatureRecord(value=0.8, num_images=30, reason="", split="test", before=before, after=after)
    abstention = AbstentionFigures(
        threshold=0.75, num_images=40, num_answered=30, coverage=0.75, coverage_interval=(0.6, 0.9), precision=0.9,
        precision_interval=(0.7, 0.97))  # fmt: skip
    sets = SetFigures(method="lac", threshold=0.1, num_images=40, coverage=0.95, coverage_interval=(0.8, 0.99),
                      mean_size=1.5, empty=0.0, single=0.5)  # fmt: skip
    decision = DecisionRecord(
        num_images=30, abstain_threshold=0.75, target_precision=0.9, set_threshold=0.1, set_coverage=0.95,
        set_interval=(0.85, 0.99), measured=DecisionEffect(abstention=abstention, sets=sets))  # fmt: skip
    edit_json(run.results, temperature=to_json(temperature), decision=to_json(decision))
    effect = TemperatureEffect(temperature=0.8, after=after, before=before)
    edit_json(run.scored("test").scores, temperature=to_json(effect))

    write(run)

    card = json.loads(run.card_data.read_text(encoding="utf-8"))["calibration"]
    assert card["temperature"]["value"] == 0.8
    assert card["decision"]["measured"]["abstention"]["precision"] == 0.9
    text = run.card.read_text(encoding="utf-8").replace("\\", "").replace("\N{NO-BREAK SPACE}", " ")
    for sentence in (
        "Confidences have the temperature 0.8, fitted on validation photos: the error is 4.0 percentage points",
        "and 20 percentage points (95 % interval 1.0 to 30.0) without it",
        "it answers 75.0 % of 40 photos (95 % interval 60.0 % to 90.0 %), and 90.0 % of the answers are correct",
        "the true one is to be among them in 95.0 % of the cases",
        "prediction sets hold the true class of 95.00%",
        "The form onnx has other thresholds than those above: it never abstains, no prediction sets.",
    ):
        assert sentence in text

    edit_json(run.verification, abstain_threshold=0.75, set_threshold=0.1)
    write(run)
    assert "other thresholds" not in run.card.read_text(encoding="utf-8")
    assert "no name" not in run.card.read_text(encoding="utf-8")


def test_the_card_says_how_unknown_images_are_told(tmp_path: Path) -> None:
    run = RunMaker().make(tmp_path / "shirts")
    kinds = tuple(
        KindFigures(kind=kind, auroc=value, low=0.7, high=0.9) for kind, value in (("energy", 0.8), ("knn", 0.6))
    )
    left_out = (LeftOutClass(name="a", auroc=0.8, num_images=9),)
    effect = UnknownEffect(kind="energy", threshold=1.5, num_images=40, num_unknown=4, share=0.1, interval=(0.04, 0.2))
    record = UnknownRecord(
        kind="energy", threshold=1.5, known_share=0.95, num_images=30, kinds=kinds, left_out=left_out, measured=effect
    )
    write(run)
    assert "The model has no score for them." in run.card.read_text(encoding="utf-8")

    edit_json(run.results, unknown=to_json(record))
    write(run)

    assert json.loads(run.card_data.read_text(encoding="utf-8"))["unknown"]["record"]["kind"] == "energy"
    text = run.card.read_text(encoding="utf-8").replace("\\", "").replace("\N{NO-BREAK SPACE}", " ")
    assert (
        "Unknown score: energy, AUROC 0.800 (0.700 to 0.900) on 1 classes that were left out in turn; knn 0.600."
        in text
    )
    assert "its score is above 1.5, chosen so that 95.0 % of 30 validation photos count as known." in text
    assert "4 of 40" in text

    edit_json(run.results, unknown=to_json(UnknownRecord(reason="too few images")))
    write(run)
    assert "There is none: too few images." in run.card.read_text(encoding="utf-8").replace("\\", "")


def test_a_file_that_was_replaced_is_not_called_proven(tmp_path: Path) -> None:
    run = RunMaker().make(tmp_path / "shirts")
    run.onnx.write_bytes(b"another one")

    write(run)

    assert "**it did not pass**" in run.card.read_text(encoding="utf-8")


def test_a_card_is_written_again_where_there_is_one(tmp_path: Path) -> None:
    run = RunMaker().make(tmp_path / "shirts")
    with card_kept_current(run):
        pass
    assert not run.card.exists()
    write(run)

    run.onnx.unlink()
    with pytest.raises(ExportError), card_kept_current(run):
        raise ExportError("refused")

    assert "model.onnx" not in json.loads(run.card_data.read_text(encoding="utf-8"))["hashes"]["files"]
    assert "model.onnx" not in run.readme.read_text(encoding="utf-8").replace("of model.onnx", "")


def test_what_a_person_filled_in_is_kept_and_shown(tmp_path: Path) -> None:
    run = RunMaker().make(tmp_path / "shirts")
    write(run)
    filled_in = {**dict.fromkeys(FIELDS), "license": "Ours Only", "intended_use": "sorting | shirts", "more": "mine"}
    edit_json(run.card_data, fill_in=filled_in)

    assert write(run) == []

    assert json.loads(run.card_data.read_text(encoding="utf-8"))["fill_in"] == filled_in
    assert r"| intended use | sorting \| shirts |" in run.card.read_text(encoding="utf-8")
    assert ModelCard.load(run.readme).data.to_dict()["license_name"] == "ours-only"


def test_a_card_that_was_changed_by_hand_is_left_alone(tmp_path: Path) -> None:
    run = RunMaker().make(tmp_path / "shirts")
    write(run)
    run.card.write_bytes(run.card.read_bytes() + b"More of mine.\n")
    own = run.card.read_bytes()

    assert write(run) == ["model_card.md"]

    assert run.card.read_bytes() == own


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read, so what was filled in would be lost"),
        ("[]", "has no object fill_in"),
        ('{"fill_in": {"license": 3}}', "fill_in.license must be text or null, not 3"),
    ],
)
def test_a_damaged_card_is_one_line(tmp_path: Path, content: str, reason: str) -> None:
    path = ExportFolder(tmp_path).card_data
    path.write_text(content, encoding="utf-8")

    with pytest.raises(RunError, match=re.escape(reason)) as caught:
        read_filled_in(path)

    assert "\n" not in str(caught.value)
    assert path.read_text(encoding="utf-8") == content


def test_class_names_are_shown_as_text(tmp_path: Path) -> None:
    names = (*HOSTILE_NAMES, "a | b", "[x](https://x.example)", "*bold* `code` _it_", "---")
    run = RunMaker(classes=sorted(names)).make(tmp_path / "odd")

    write(run)

    text = run.card.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img" not in text
    assert r"\[x\]\(https\://x.example\)" in text
    assert r"\*bold\* \`code\` \_it\_" in text
    rows = [line for line in text.splitlines() if re.match(r"\| a \\\| b \|", line)]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [7, 5]  # of the scores and of the photos
    assert json.loads(run.card_data.read_text(encoding="utf-8"))["classes"] == sorted(names)


def test_a_run_without_scores_says_so(tmp_path: Path) -> None:
    run = RunMaker(is_finished=False).make(tmp_path / "shirts")

    write(run)

    assert "The run has no final scores" in run.card.read_text(encoding="utf-8")
    assert "model-index" not in run.card.read_text(encoding="utf-8")


def test_only_text_is_escaped() -> None:
    assert escape_markdown(3) == 3
    assert escape_markdown("a\nb & <c>") == "a␣b &amp; &lt;c&gt;"
