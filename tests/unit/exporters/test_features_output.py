from __future__ import annotations

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

from classifier_training.exporters.features_output import add_features_output
from classifier_training.exporters.forms import ExportSettings, ProofImages
from classifier_training.exporters.onnx import export_onnx
from classifier_training.exporters.verification import compare_onnx
from classifier_training.models.head_features import backbone_features
from classifier_training.types import Exporter


def outputs(path: Path, images: Tensor) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": images.numpy()}), strict=True))


@pytest.mark.parametrize(
    ("name", "size", "exporter"),
    [
        ("resnet10t", 32, "torchscript"),
        ("mobilenetv3_small_050", 32, "torchscript"),
        ("vit_tiny_patch16_224", 32, "torchscript"),
        ("convnext_atto", 32, "torchscript"),
        ("test_byobnet", 32, "dynamo"),
    ],
)
def test_the_features_are_what_the_head_of_a_backbone_gets(
    tmp_path: Path, name: str, size: int, exporter: Exporter
) -> None:
    options: dict[str, Any] = {"img_size": size} if name.startswith("vit") else {}
    network = timm.create_model(name, num_classes=3, **options).eval()
    images = make_batch(3, size)

    export_onnx(network, tmp_path / "model.onnx", images, ExportSettings(exporter), {})

    found = outputs(tmp_path / "model.onnx", images)
    assert list(found) == ["logits", "features"]
    with torch.no_grad():
        np.testing.assert_allclose(found["features"], backbone_features(network, images), atol=1e-4)
    assert compare_onnx(tmp_path / "model.onnx", network, ProofImages(images), ExportSettings())["passed"] is True


class _TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = make_network(6)[:-1]
        self.heads = nn.ModuleList([nn.Linear(8, 3), nn.Linear(8, 3)])

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        return torch.stack([head(features) for head in self.heads]).mean(dim=0)


class _WithoutBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = make_network()[:-1]
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits


class _PerPatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images.flatten(2).transpose(1, 2)).mean(dim=1)
        return logits


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (make_network(), ["logits", "features"]),
        (_WithoutBias().eval(), ["logits", "features"]),
        (_TwoHeads().eval(), ["logits"]),
        (_PerPatch().eval(), ["logits"]),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(), ["logits"]),
    ],
)
def test_models_without_one_last_linear_layer_have_no_such_output(
    tmp_path: Path, network: nn.Module, expected: list[str]
) -> None:
    path = tmp_path / "model.onnx"

    export_onnx(network, path, make_batch(), ExportSettings(), {})

    assert list(outputs(path, make_batch())) == expected
    assert compare_onnx(path, network, ProofImages(make_batch()), ExportSettings())["passed"] is True


def test_a_value_inside_that_has_the_name_already(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(make_network(), path, make_batch(), ExportSettings(), {})
    expected = outputs(path, make_batch())
    exported = onnx.load(str(path))
    del exported.graph.output[1:], exported.graph.node[-1:]  # as the exporter gave it
    for node in exported.graph.node[:-1]:  # the first value inside is called features
        old = exported.graph.node[0].output[0]
        node.input[:] = ["features" if name == old else name for name in node.input]
    exported.graph.node[0].output[:] = ["features"]

    assert add_features_output(exported) == 8

    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, str(path))
    np.testing.assert_array_equal(outputs(path, make_batch())["features"], expected["features"])


def test_features_that_are_not_those_of_the_model_are_not_accepted(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(make_network(), path, make_batch(), ExportSettings(), {})
    exported = onnx.load(str(path))
    (last,) = [node for node in exported.graph.node if node.output[0] == "features"]
    last.op_type = "Neg"
    onnx.save(exported, str(path))

    figures = compare_onnx(path, make_network(), ProofImages(make_batch()), ExportSettings())

    assert figures["passed"] is False
    assert figures["top1_agreement"] == 1.0
    assert "its output features differs by" in figures["reason"]
