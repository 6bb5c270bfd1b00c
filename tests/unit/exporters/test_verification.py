from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from tests.helpers.onnx_models import make_onnx
from tests.helpers.torch_models import make_batch, make_network
from torch import nn

from classifier_training.exporters.forms import ExportSettings, ProofImages
from classifier_training.exporters.onnx import export_onnx
from classifier_training.exporters.verification import compare_onnx, versions

SETTINGS = ExportSettings()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    export_onnx(make_network(), tmp_path / "model.onnx", make_batch(), ExportSettings(), {})
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("num_images", [1, 5, 7, 16])
def test_the_figures_of_a_good_file(path: Path, num_images: int) -> None:
    figures = compare_onnx(path, make_network(), ProofImages(make_batch(num_images)), SETTINGS)

    assert figures["passed"] is True
    assert not {"reason", "error"} & figures.keys()
    assert figures["top1_agreement"] == 1.0
    assert 0 <= figures["max_abs_logit_difference"] < 1e-5
    assert [one["batch_size"] for one in figures["batch_sizes"]] == [1, 2, 7, 64]
    assert figures["max_abs_logit_difference"] == max(one["max_abs_logit_difference"] for one in figures["batch_sizes"])
    assert figures["num_images"] == num_images
    assert figures["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_other_weights_are_found_out(path: Path) -> None:
    figures = compare_onnx(path, make_network(seed=1), ProofImages(make_batch()), SETTINGS)

    assert figures["passed"] is False
    assert re.search(r"top-1 agreement [\d.]+%.*difference of a logit [\d.]+ \(0\.001 is", figures["reason"])


def test_a_difference_above_the_tolerance_fails_though_all_classes_agree(path: Path) -> None:
    shifted = make_network()
    head = shifted[-1]
    assert isinstance(head, nn.Linear)
    head.bias.data += 0.01

    figures = compare_onnx(path, shifted, ProofImages(make_batch()), SETTINGS)

    assert figures["top1_agreement"] == 1.0
    assert figures["max_abs_logit_difference"] == pytest.approx(0.01, abs=1e-4)
    assert figures["passed"] is False
    assert compare_onnx(path, shifted, ProofImages(make_batch()), ExportSettings(tolerance=0.02))["passed"] is True


def test_nan_never_passes(path: Path) -> None:
    figures = compare_onnx(path, make_network(), ProofImages(torch.full((2, 3, 16, 16), torch.nan)), SETTINGS)

    assert figures["passed"] is False
    assert figures["max_abs_logit_difference"] is None
    assert "not a finite number" in figures["reason"]


def test_a_fixed_batch_axis_is_found_out(tmp_path: Path) -> None:
    path = make_onnx(tmp_path / "model.onnx", 4, input_shape=(2, 3, 16, 16))

    figures = compare_onnx(path, make_network(), ProofImages(make_batch()), SETTINGS)

    assert figures["passed"] is False
    assert re.fullmatch(r"onnxruntime cannot run the exported file: .*takes exactly 2 images.*", figures["reason"])


def test_another_number_of_classes_is_found_out(path: Path) -> None:
    figures = compare_onnx(path, make_network(6), ProofImages(make_batch(9)), SETTINGS)

    assert figures["passed"] is False
    assert "logits of shape (1, 4) where the model gives (1, 6)" in figures["reason"]


def test_versions_name_what_matters() -> None:
    assert {"torch", "onnx", "onnxruntime"} <= set(versions())
    assert versions()["torch"] == torch.__version__.split("+")[0] or versions()["torch"] == torch.__version__
