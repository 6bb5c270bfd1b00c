from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tests.helpers.torch_models import make_batch, make_network

from classifier_training.errors import ExportError
from classifier_training.exporters.forms import ExportSettings, ProofImages
from classifier_training.exporters.onnx import export_onnx
from classifier_training.exporters.other_outputs import outputs_of
from classifier_training.exporters.verification import compare_onnx
from classifier_training.inference.unknown import UnknownCard
from classifier_training.metrics.unknown import KINDS, UnknownKind, fit_unknown_score
from classifier_training.models.unknown import UnknownDetector


def with_unknown(kind: UnknownKind, seed: int = 0) -> torch.nn.Module:
    """A network with a score that is fitted to its own features."""
    network = make_network()
    features = outputs_of(network, make_batch(40, seed=7))["features"]
    score = fit_unknown_score(kind, features if seed == 0 else features[::-1][:30] + 1, 2)
    card = UnknownCard(kind=kind, threshold=0.5, known_share=0.95, num_images=40)
    vars(network)["unknown"] = UnknownDetector(score, card)
    return network


def run(path: Path, images: Any) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": images.numpy()}), strict=True))


@pytest.mark.parametrize("settings", [ExportSettings(opset_version=13), ExportSettings("dynamo", 20)], ids=["13", "20"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_gives_the_score_that_numpy_computes(
    tmp_path: Path, kind: UnknownKind, settings: ExportSettings
) -> None:
    network, path = with_unknown(kind), tmp_path / "model.onnx"

    export_onnx(network, path, make_batch(), settings, {})

    for size in (1, 5):
        images = make_batch(size, seed=3)
        found, expected = run(path, images), outputs_of(network, images)
        assert list(found) == ["logits", "features", "unknown_score"]
        np.testing.assert_allclose(found["unknown_score"], expected["unknown_score"], rtol=1e-5, atol=1e-5)
    assert compare_onnx(path, network, ProofImages(make_batch()), ExportSettings())["passed"] is True


@pytest.mark.parametrize("kind", KINDS)
def test_another_score_is_not_accepted(tmp_path: Path, kind: UnknownKind) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(with_unknown(kind), path, make_batch(), ExportSettings(), {})
    other = with_unknown(KINDS[KINDS.index(kind) - 1])

    figures = compare_onnx(path, other, ProofImages(make_batch()), ExportSettings())

    assert figures["passed"] is False
    assert "its output unknown_score differs by" in figures["reason"]


def test_a_file_without_the_score_of_its_model_is_not_accepted(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(make_network(), path, make_batch(), ExportSettings(), {})

    figures = compare_onnx(path, with_unknown("energy"), ProofImages(make_batch()), ExportSettings())

    assert (figures["passed"], figures["top1_agreement"]) == (False, 1.0)
    assert "it has no output unknown_score" in figures["reason"]


def test_the_energy_of_large_logits_is_finite(tmp_path: Path) -> None:
    network, path = with_unknown("energy"), tmp_path / "model.onnx"
    head: Any = network.get_submodule("6")
    head.weight.data *= 1e6

    export_onnx(network, path, make_batch(), ExportSettings(), {})

    found = run(path, make_batch())
    assert np.abs(found["logits"]).max() > 1e4
    np.testing.assert_allclose(found["unknown_score"], -torch.from_numpy(found["logits"]).logsumexp(1), rtol=1e-6)


def test_a_score_of_features_needs_them_in_the_graph(tmp_path: Path) -> None:
    network = with_unknown("knn")
    whole = torch.nn.Sequential(network, torch.nn.ReLU()).eval()
    vars(whole)["unknown"] = vars(network)["unknown"]

    with pytest.raises(ExportError, match="unknown score knn of this model needs its features"):
        export_onnx(whole, tmp_path / "model.onnx", make_batch(), ExportSettings(), {})


def test_the_nodes_of_the_score_can_be_told_by_their_names(tmp_path: Path) -> None:
    export_onnx(with_unknown("knn"), tmp_path / "a.onnx", make_batch(), ExportSettings(), {})
    export_onnx(make_network(), tmp_path / "b.onnx", make_batch(), ExportSettings(), {})

    nodes = [{node.name for node in onnx.load(str(tmp_path / name)).graph.node} for name in ("a.onnx", "b.onnx")]

    assert nodes[0] - nodes[1]
    assert all(name.startswith("unknown/") for name in nodes[0] - nodes[1])
