from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers.torch_models import make_batch, make_network, make_proof_images
from torch import Tensor, nn

from classifier_training.errors import ExportError, VerificationError
from classifier_training.exporters.forms import ExportSettings, ProofImages
from classifier_training.exporters.onnx import FORM
from classifier_training.exporters.verified import export_verified
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import OnnxClassifier
from classifier_training.run.folder import ExportFolder
from classifier_training.run.records import read_record
from classifier_training.run.verification import Verification
from classifier_training.types import Preprocessing

SETTINGS = ExportSettings()
CARD = DeploymentCard(("00", "no", "", "猫"), Preprocessing(image_size=16))


class TracedWrongly(nn.Module):
    """Answers the exporter's two images otherwise than any other number: the trace is wrong for those."""

    def __init__(self) -> None:
        super().__init__()
        self.network = make_network()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits if len(images) == 2 else logits + 1


class Random(nn.Module):
    """Answers otherwise at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.network = make_network()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits + 9 * torch.rand_like(logits)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_everything_that_deployment_needs_is_written(tmp_path: Path) -> None:
    network, images = make_network(), make_batch()

    figures = export_verified(
        network,
        ExportFolder(tmp_path / "out"),
        ProofImages(images),
        FORM,
        SETTINGS,
        card=CARD,
        record={"weights": "the best"},
    )

    assert files_in(tmp_path / "out") == ["labels_mapping.json", "model.onnx", "verification.json"]
    assert json.loads((tmp_path / "out" / "verification.json").read_text()) == figures
    verification = read_record(tmp_path / "out" / "verification.json", Verification)
    assert (verification.passed, verification.num_images, verification.reason) == (True, len(images), None)
    assert (verification.top1_agreement, verification.sha256) == (1.0, figures["sha256"])
    assert figures["weights"] == "the best"
    assert figures["passed"] is True
    assert (figures["form"], figures["exporter"], figures["opset_version"]) == ("onnx", "torchscript", 18)
    assert json.loads((tmp_path / "out" / "labels_mapping.json").read_text())["class_to_idx"]["猫"] == 3
    classifier = OnnxClassifier(tmp_path / "out" / "model.onnx")
    assert classifier.card == CARD
    assert (classifier.classes, classifier.preprocessing) == (CARD.classes, CARD.preprocessing)
    assert set(json.loads(classifier.metadata["versions"])) >= {"torch", "onnx"}
    with torch.no_grad():
        np.testing.assert_allclose(classifier.logits(images.numpy()), network(images), atol=1e-5)


def test_without_a_card_no_mapping(tmp_path: Path) -> None:
    export_verified(make_network(), ExportFolder(tmp_path), ProofImages(make_batch()), FORM, SETTINGS)

    assert files_in(tmp_path) == ["model.onnx", "verification.json"]


def test_a_failed_comparison_leaves_no_model_not_even_an_older_one(tmp_path: Path) -> None:
    folder = ExportFolder(tmp_path)
    export_verified(make_network(), folder, ProofImages(make_batch()), FORM, SETTINGS)

    with pytest.raises(VerificationError, match="does not answer like the model"):
        export_verified(TracedWrongly().eval(), folder, ProofImages(make_batch()), FORM, SETTINGS)

    assert files_in(tmp_path) == ["verification.json"]
    verification = read_record(tmp_path / "verification.json", Verification)
    assert not verification.passed
    assert "does not answer like the model" in (verification.reason or "")
    figures = json.loads((tmp_path / "verification.json").read_text())
    assert figures["passed"] is False
    assert figures["max_abs_logit_difference"] == pytest.approx(1, abs=1e-4)
    assert "does not answer like the model" in figures["reason"]


def test_a_failed_export_leaves_no_model_either(tmp_path: Path) -> None:
    folder = ExportFolder(tmp_path)
    export_verified(make_network(), folder, ProofImages(make_batch()), FORM, SETTINGS)

    with pytest.raises(ExportError, match="evaluation mode"):
        export_verified(make_network().train(), folder, ProofImages(make_batch()), FORM, SETTINGS)

    assert files_in(tmp_path) == ["verification.json"]
    assert "evaluation mode" in json.loads((tmp_path / "verification.json").read_text())["reason"]


def test_a_file_that_fails_its_own_test_has_not_passed(tmp_path: Path) -> None:
    trusting = replace(FORM, acceptance=lambda *_: {"passed": True})
    settings = replace(SETTINGS, self_test_images=2)
    images = make_proof_images(CARD.preprocessing, card=CARD)

    with pytest.raises(VerificationError):
        export_verified(Random().eval(), ExportFolder(tmp_path), images, trusting, settings, card=CARD)

    assert files_in(tmp_path) == ["verification.json"]
    verification = read_record(tmp_path / "verification.json", Verification)
    assert not verification.passed
    assert verification.reason
