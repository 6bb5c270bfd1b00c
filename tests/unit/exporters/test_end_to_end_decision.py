"""What the end-to-end graph decides, with the thresholds of its card or with others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from tests.helpers.torch_models import make_batch, make_network, make_proof_images

from classifier_training.exporters.end_to_end import export_end_to_end
from classifier_training.exporters.end_to_end_proof import compare_end_to_end
from classifier_training.exporters.forms import ExportSettings
from classifier_training.exporters.other_outputs import outputs_of
from classifier_training.imaging.preprocess import preprocess
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import OnnxClassifier, softmax
from classifier_training.inference.decision import Decision
from classifier_training.inference.unknown import UnknownCard
from classifier_training.metrics.unknown import energy, fit_unknown_score
from classifier_training.models.unknown import UnknownDetector
from classifier_training.types import Preprocessing

PREPROCESSING = Preprocessing(image_size=16, crop_pct=1.0)
PLAIN = DeploymentCard(("a", "b", "c", "d"), PREPROCESSING, temperature=0.5)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
PREPARED = torch.from_numpy(np.stack([preprocess(one, PREPROCESSING) for one in PIXELS]))


def model_of(card: DeploymentCard) -> torch.nn.Module:
    """The network, with the score that the card describes."""
    network = make_network()
    if card.unknown is not None:
        features = outputs_of(network, make_batch(30, seed=5))["features"]
        vars(network)["unknown"] = UnknownDetector(fit_unknown_score("knn", features, 1), card.unknown)
    return network


def fitted_card() -> DeploymentCard:
    """A card by which half of the pixels are unlikely, and half unknown."""
    card = replace(PLAIN, unknown=UnknownCard(kind="knn", threshold=0.0, known_share=0.5, num_images=40))
    found = outputs_of(model_of(card), PREPARED)
    top, score = (float(np.median(one)) for one in (softmax(found["logits"] / 0.5).max(axis=1), found["unknown_score"]))
    unknown = UnknownCard(kind="knn", threshold=score, known_share=0.5, num_images=40)
    decision = Decision(num_images=40, abstain_threshold=top, set_threshold=0.25)
    return replace(PLAIN, decision=decision, unknown=unknown)


CARD = fitted_card()
assert CARD.decision is not None
assert CARD.unknown is not None
DECISION, UNKNOWN = CARD.decision, CARD.unknown


def build(path: Path, card: DeploymentCard) -> Path:
    export_end_to_end(model_of(card), path, make_batch(2), ExportSettings(), card.to_metadata())
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("built") / "model_e2e.onnx", CARD)


def answer(path: Path, **thresholds: float) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    given = {name: np.array(value, np.float32) for name, value in thresholds.items()}
    return dict(zip(names, session.run(names, {"images": PIXELS, **given}), strict=True))


def test_the_signature(built: Path) -> None:
    session = onnxruntime.InferenceSession(str(built), providers=["CPUExecutionProvider"])

    found = [(one.name, one.type, one.shape) for one in session.get_outputs()]

    assert found == [
        ("label_index", "tensor(int64)", ["N"]),
        ("probabilities", "tensor(float)", ["N", 4]),
        ("logits", "tensor(float)", ["N", 4]),
        ("prediction_set", "tensor(bool)", ["N", 4]),
        ("abstain", "tensor(bool)", ["N"]),
        ("unknown_score", "tensor(float)", ["N"]),
        ("unknown", "tensor(bool)", ["N"]),
    ]
    assert [one.name for one in session.get_inputs()] == ["images"]
    optional = [(one.name, one.type, one.shape) for one in session.get_overridable_initializers()]
    assert sorted(optional) == [
        (name, "tensor(float)", []) for name in ("abstain_threshold", "set_threshold", "unknown_threshold")
    ]


def test_the_defaults_are_the_thresholds_of_the_card(built: Path) -> None:
    found = answer(built)

    decided = DECISION.decide(found["probabilities"])
    is_unknown = UNKNOWN.is_unknown(found["unknown_score"])
    assert 0 < decided.abstain.sum() < len(PIXELS)
    assert 0 < is_unknown.sum() < len(PIXELS)
    np.testing.assert_array_equal(found["abstain"], decided.abstain)
    np.testing.assert_array_equal(found["unknown"], is_unknown)
    np.testing.assert_array_equal(found["prediction_set"], decided.sets)


def test_operations_change_a_threshold_without_a_new_file(built: Path) -> None:
    default = answer(built)
    top = default["probabilities"].max(axis=1)

    np.testing.assert_array_equal(answer(built, abstain_threshold=0.0)["abstain"], False)
    np.testing.assert_array_equal(answer(built, abstain_threshold=1.1)["abstain"], True)
    np.testing.assert_array_equal(answer(built, unknown_threshold=9)["unknown"], False)
    np.testing.assert_array_equal(answer(built, unknown_threshold=-9)["unknown"], True)
    np.testing.assert_array_equal(answer(built, unknown_threshold=-9)["abstain"], default["abstain"])
    middle = float(np.median(top))
    np.testing.assert_array_equal(answer(built, abstain_threshold=middle)["abstain"], top < middle)
    np.testing.assert_array_equal(
        answer(built, set_threshold=0.27)["prediction_set"], default["probabilities"] >= np.float32(0.27)
    )
    for name in ("label_index", "probabilities", "logits", "unknown_score"):
        np.testing.assert_array_equal(answer(built, abstain_threshold=1.1)[name], default[name])


def test_without_thresholds_nothing_abstains_and_a_set_holds_every_class(tmp_path: Path) -> None:
    found = answer(build(tmp_path / "model_e2e.onnx", PLAIN))

    assert not found["abstain"].any()
    assert not found["unknown"].any()
    assert found["prediction_set"].all()
    np.testing.assert_allclose(found["unknown_score"], energy(found["logits"]), rtol=1e-5)
    assert answer(tmp_path / "model_e2e.onnx", unknown_threshold=-100)["unknown"].all()


def test_the_file_is_proven_and_predicts(built: Path) -> None:
    images = make_proof_images(PREPROCESSING, card=CARD)

    assert compare_end_to_end(built, model_of(CARD), images, ExportSettings())["passed"] is True
    assert OnnxClassifier(built).card == CARD


@pytest.mark.parametrize("name", ["abstain_threshold", "set_threshold", "unknown_threshold"])
def test_another_default_is_not_accepted(built: Path, tmp_path: Path, name: str) -> None:
    exported = onnx.load(str(built))
    (threshold,) = [one for one in exported.graph.initializer if one.name == name]
    threshold.CopyFrom(numpy_helper.from_array(np.array(0.123, np.float32), name))
    onnx.save(exported, str(tmp_path / "changed.onnx"))

    images = make_proof_images(PREPROCESSING, card=CARD)
    figures = compare_end_to_end(tmp_path / "changed.onnx", model_of(CARD), images, ExportSettings())

    assert (figures["passed"], figures["stage"]) == (False, "decision")
    assert "of a default of the thresholds" in figures["reason"]


@pytest.mark.parametrize(
    ("output", "operator", "what"),
    [
        ("abstain", "Not", "an abstention"),
        ("prediction_set", "Not", "a prediction set"),
        ("unknown_score", "Neg", "an unknown score"),
        ("unknown", "Not", "what counts as unknown"),
    ],
)
def test_another_decision_is_not_accepted(built: Path, tmp_path: Path, output: str, operator: str, what: str) -> None:
    exported = onnx.load(str(built))
    for node in exported.graph.node:
        node.output[:] = [f"old/{output}" if name == output else name for name in node.output]
        node.input[:] = [f"old/{output}" if name == output else name for name in node.input]
    exported.graph.node.append(onnx.helper.make_node(operator, [f"old/{output}"], [output]))
    onnx.save(exported, str(tmp_path / "changed.onnx"))

    images = make_proof_images(PREPROCESSING, card=CARD)
    figures = compare_end_to_end(tmp_path / "changed.onnx", model_of(CARD), images, ExportSettings())

    assert (figures["passed"], figures["stage"]) == (False, "decision")
    assert f"of {what}" in figures["reason"]
