"""One unknown score everywhere: training, checkpoint, export, evaluation, and the end-to-end graph."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.helpers.cli import TINY, WarmProgram, make_shapes

from classifier_training.data.splits.file import read_split
from classifier_training.inference.classifier import OnnxClassifier
from classifier_training.metrics.unknown import KINDS
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.run.folder import RunFolder

SETTINGS = ("data.val_fraction=0.4", "data.test_fraction=0.2", "calibration.known_share=0.8")


@pytest.fixture(scope="module")
def run(program: WarmProgram) -> RunFolder:
    """A run on photos of three classes."""
    make_shapes(program.folder / "three", 24)
    finished = program("train", "three", *TINY, *SETTINGS, "run.name=unknown")
    assert finished.code == 0, finished
    assert "on 3 classes that were left out in turn" in finished.out
    assert "count as unknown by their" in finished.out
    return RunFolder(program.folder / "runs" / "unknown")


def record_of(run: RunFolder) -> Any:
    return json.loads(run.results.read_text(encoding="utf-8"))["unknown"]


def test_the_run_the_checkpoint_and_the_export_have_one_score(run: RunFolder) -> None:
    record, card = record_of(run), OnnxClassifier(run.onnx).card.unknown
    detector = load_model(run.best_checkpoint).unknown

    assert card is not None
    assert detector is not None
    assert card == detector.card
    assert (record["kind"], record["threshold"], record["known_share"]) == (card.kind, card.threshold, 0.8)
    assert [one["kind"] for one in record["kinds"]] == list(KINDS)
    assert sorted(one["class"] for one in record["left_out"]) == ["blue", "green", "red"]
    assert sum(one["known"] for one in record["bins"]) == 2 * record["num_images"]
    assert "unknown" not in read_checkpoint(run.last_checkpoint)


def test_the_stated_share_of_the_validation_images_is_known_to_the_graph(run: RunFolder) -> None:
    classifier, images = OnnxClassifier(run.onnx), [one.image for one in read_split(run.split, "val")]

    passes = classifier.outputs_of_files(images, 16, None, ("unknown_score",))
    scores = np.concatenate([outputs["unknown_score"] for _, outputs in passes])

    card = classifier.card.unknown
    assert card is not None
    assert abs((~card.is_unknown(scores)).mean() - 0.8) <= 2 / len(images)  # one lies at the threshold
    np.testing.assert_allclose(np.quantile(scores, 0.5, method="higher"), card.quantiles[4], atol=1e-3)


@pytest.mark.parametrize("model", ["runs/unknown", "runs/unknown/export/model.onnx"])
def test_evaluate_tells_the_share_that_training_found(program: WarmProgram, run: RunFolder, model: str) -> None:
    found, expected = program("evaluate", model, "--json").json["unknown"], record_of(run)["measured"]

    assert found == expected


def test_it_can_be_switched_off(program: WarmProgram, run: RunFolder) -> None:
    finished = program("train", "three", *TINY, *SETTINGS, "run.name=off", "calibration.unknown=false")

    off = RunFolder(run.root.parent / "off")
    assert finished.code == 0, finished
    assert "unknown" not in finished.out
    assert "unknown" not in json.loads(off.results.read_text(encoding="utf-8"))
    assert OnnxClassifier(off.onnx).card.unknown is None
    assert list(OnnxClassifier(off.onnx).further_outputs) == ["features"]
    first, second = (load_model(one.best_checkpoint).state_dict() for one in (run, off))
    assert all(first[name].equal(second[name]) for name in first)
