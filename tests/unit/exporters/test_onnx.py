from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from tests.helpers.torch_models import make_batch, make_network
from torch import Tensor, nn

from classifier_training.errors import ExportError
from classifier_training.exporters.forms import ExportSettings
from classifier_training.exporters.onnx import export_onnx
from classifier_training.types import OPSET_VERSIONS, Exporter

EXPORTERS: list[Exporter] = ["torchscript", "dynamo"]


def run(path: Path, images: Tensor) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": images.numpy()})
    return logits


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_file_answers_like_the_model_at_any_batch_size(tmp_path: Path, exporter: Exporter) -> None:
    network = make_network()
    path = tmp_path / "model.onnx"

    export_onnx(network, path, torch.zeros(1, 3, 16, 24), ExportSettings(exporter), {})

    for batch_size in (1, 2, 7):
        images = torch.randn(batch_size, 3, 16, 24)
        with torch.no_grad():
            np.testing.assert_allclose(run(path, images), network(images), atol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_signature_and_the_metadata(tmp_path: Path, exporter: Exporter) -> None:
    path = tmp_path / "model.onnx"

    export_onnx(
        make_network(5),
        path,
        torch.zeros(1, 3, 16, 24),
        ExportSettings(exporter, opset_version=18),
        {"class_names": '["00", "猫"]', "empty": ""},
    )

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (input_,), (output, features) = session.get_inputs(), session.get_outputs()
    assert (input_.name, input_.type, input_.shape) == ("input", "tensor(float)", ["N", 3, 16, 24])
    assert (output.name, output.type, output.shape) == ("logits", "tensor(float)", ["N", 5])
    assert (features.name, features.type, features.shape) == ("features", "tensor(float)", ["N", 8])
    assert session.get_modelmeta().custom_metadata_map == {"class_names": '["00", "猫"]', "empty": ""}
    assert [opset.version for opset in onnx.load(str(path)).opset_import if opset.domain == ""] == [18]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_nothing_is_printed_and_no_logger_is_left_changed(
    tmp_path: Path, exporter: Exporter, capfd: pytest.CaptureFixture[str]
) -> None:
    level = logging.getLogger("torch.onnx").level

    export_onnx(make_network(), tmp_path / "model.onnx", make_batch(), ExportSettings(exporter), {})

    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("torch.onnx").level == level


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet10t", 32), ("mobilenetv3_small_050", 32), ("vit_tiny_patch16_224", 32), ("convnext_atto", 32)],
)
def test_backbones_of_every_kind(tmp_path: Path, name: str, size: int) -> None:
    options: dict[str, Any] = {"img_size": size} if name.startswith("vit") else {}
    network = timm.create_model(name, num_classes=3, **options).eval()
    path = tmp_path / "model.onnx"

    images = make_batch(3, size)

    export_onnx(network, path, images, ExportSettings(), {})

    with torch.no_grad():
        np.testing.assert_allclose(run(path, images), network(images), atol=1e-4)


class ReturnsTuple(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


class CannotBeExported(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        eigenvalues: Tensor = torch.linalg.eigvals(images[:, :, :3, :3].double())
        return eigenvalues.real.float().mean(dim=1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (make_network().train(), "evaluation mode"),
        (ReturnsTuple().eval(), r"must return logits \(N, K\) .* got tuple"),
        (nn.Conv2d(3, 4, 1).eval(), r"got \(2, 4, 16, 16\)"),
        (nn.Conv2d(3, 4, 99).eval(), "refuses images of 3 channels of 16 x 16 pixels"),
        (
            CannotBeExported().eval(),
            "torchscript exporter cannot export .* opset 18: .*; try the other exporter, dynamo",
        ),
    ],
)
def test_what_cannot_be_exported_is_one_clear_line(
    tmp_path: Path, network: nn.Module, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        export_onnx(network, tmp_path / "model.onnx", make_batch(), ExportSettings(), {})
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # PyTorch has printed its whole graph here


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_oldest_and_the_newest_operator_set_are_really_written(tmp_path: Path, exporter: Exporter) -> None:
    path = tmp_path / "model.onnx"
    for version in (OPSET_VERSIONS[exporter][0], OPSET_VERSIONS[exporter][-1]):
        export_onnx(make_network(), path, torch.zeros(1, 3, 8, 8), ExportSettings(exporter, version), {})
        assert [opset.version for opset in onnx.load(str(path)).opset_import if opset.domain == ""] == [version]
