"""The form ``fp16`` of a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from tests.helpers.torch_models import make_batch, make_proof_images
from torch import nn

from classifier_training.exporters.forms import ExportSettings
from classifier_training.exporters.fp16 import convert_to_fp16
from classifier_training.exporters.onnx import export_onnx
from classifier_training.inference.session import open_session
from classifier_training.types import Preprocessing

IMAGES = make_proof_images(Preprocessing(image_size=16))


class Upsampled(nn.Module):
    """Resizes inside of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 64, 3), nn.Linear(64, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = nn.functional.interpolate(self.first(images), scale_factor=2.0, mode="bilinear")
        return self.head(values.mean((2, 3)))  # type: ignore[no-any-return]  # torch's modules return Any


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_half_the_size_and_the_same_inputs_and_outputs(tmp_path: Path, exporter: str) -> None:
    torch.manual_seed(0)
    model, path = Upsampled().eval(), tmp_path / "model.onnx"
    settings = ExportSettings(exporter)  # type: ignore[arg-type]  # a parameter of the test
    export_onnx(model, path, make_batch(), settings, {"class_names": '["a"]'})
    size, before = path.stat().st_size, onnx.load(str(path))

    assert convert_to_fp16(path, model, IMAGES, settings) == {}

    after = onnx.load(str(path))
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    weights = {tensor.data_type for tensor in after.graph.initializer if numpy_helper.to_array(tensor).size > 8}
    assert weights == {TensorProto.FLOAT16}
    assert path.stat().st_size < 0.8 * size  # a small network has more graph than weights
    metadata = {entry.key: entry.value for entry in after.metadata_props}
    assert metadata == {"class_names": '["a"]', "form": "fp16"}
    with torch.no_grad():
        expected = model(make_batch()).numpy()
    (found,) = open_session(path, 1).run(["logits"], {"input": make_batch().numpy()})
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert not np.array_equal(found, expected)
