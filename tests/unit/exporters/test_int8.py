"""The form ``int8`` of a network: which way it is quantised, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tests.helpers.torch_models import make_network
from torch import nn

from classifier_training.errors import ExportError
from classifier_training.exporters.forms import CalibrationImages, ExportSettings, OriginalImage, ProofImages
from classifier_training.exporters.int8 import convert_to_int8
from classifier_training.exporters.judged_logits import JudgedLogits
from classifier_training.exporters.onnx import export_onnx
from classifier_training.exporters.quantization import SCHEMES, Quantizer
from classifier_training.exporters.scheme_trials import Trials
from classifier_training.inference.session import open_session

ANY = ExportSettings(max_points_lost=100, significance=1e-12, min_speedup=0, calibration_images=8)
FIRST, SECOND = "/layers/layers.0/Conv", "/layers/layers.1/Conv"


class Outlier(nn.Module):
    """Between its first two layers one channel is huge and means nothing, and the others are small and mean all."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(8 if number else 3, 8, 3, padding=1) for number in range(4)]
        with torch.no_grad():
            layers[0].weight[0] *= 1e5
            layers[1].weight[:, 0] = 0
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(images).amax((2, 3)))  # type: ignore[no-any-return]  # torch's modules return Any


def make_images(model: nn.Module, num_images: int = 32) -> ProofImages:
    """Random images with the labels that the model gives them."""
    generator = torch.Generator().manual_seed(1)
    prepared = torch.randn(num_images, 3, 16, 16, generator=generator)
    with torch.no_grad():
        labels = model(prepared).argmax(1).tolist()
    originals = [OriginalImage(str(number), b"", label) for number, label in enumerate(labels)]
    other = torch.randn(200, 3, 16, 16, generator=generator).numpy()
    return ProofImages(prepared, originals, calibration=lambda count: CalibrationImages(other[:count], f"{count}"))


def convert(
    model: nn.Module, path: Path, settings: ExportSettings, images: ProofImages | None = None
) -> dict[str, Any]:
    """Builds the float32 file, and converts it."""
    images = make_images(model) if images is None else images
    export_onnx(model, path, images.prepared, settings, {"class_names": '["a"]'})
    return convert_to_int8(path, model, images, settings)


def test_a_quantised_file_takes_the_place_of_the_float_one(tmp_path: Path) -> None:
    model, path = make_network(), tmp_path / "model.onnx"

    figures = convert(model, path, ANY)

    assert "reason" not in figures
    assert figures["calibration"] == {"num_images": 8, "sha256": "8"}
    assert [row["scheme"] for row in figures["schemes"]] == [scheme.name for scheme in SCHEMES]
    taken = [row for row in figures["schemes"] if row["verdict"] == "taken"]
    assert [row["scheme"] for row in taken] == [figures["scheme"]]
    assert taken[0]["speedups"].keys() == {"1", "8"}
    assert figures["top1_of_model"] == 1.0
    quantized = onnx.load(str(path))
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in quantized.graph.node}
    metadata = {entry.key: entry.value for entry in quantized.metadata_props}
    assert json.loads(metadata.pop("quantization")) == {"scheme": figures["scheme"], "float_layers": []}
    assert metadata == {"class_names": '["a"]', "form": "int8"}
    images = make_images(model)
    (found,) = open_session(path, 1).run(["logits"], {"input": images.prepared.numpy()})
    with torch.no_grad():
        expected = model(images.prepared).numpy()
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_sensitive_layers_stay_float_where_the_gate_asks_for_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, settings = Outlier().eval(), replace(ANY, max_points_lost=10.0)
    images = make_images(model)
    with torch.no_grad():  # otherwise one class would be predicted for nearly all
        model.head.bias.copy_(model.head.bias - model(images.prepared).mean(0))
    images = make_images(model)
    assert len({one.label for one in images.originals}) == 4

    figures = convert(model, tmp_path / "model.onnx", settings, images)

    tried = figures["schemes"]
    assert [row["verdict"] for row in tried[:4]] == ["loses too much"] * 4
    assert tried[-1]["verdict"] == "taken"
    assert figures["float_layers"] == tried[-1]["float_layers"] != []
    assert tried[-1]["scheme"].endswith(" float")

    export_onnx(model, tmp_path / "float.onnx", images.prepared, settings, {})
    quantizer = Quantizer(tmp_path / "float.onnx", images.prepared.numpy(), tmp_path)
    trials = Trials(quantizer, tmp_path / "float.onnx", JudgedLogits(model, images), settings, tmp_path)
    trials.try_float_layers(SCHEMES[0], images.prepared.numpy())
    assert [set(one.float_layers) for one in trials.all] == [{SECOND}, {FIRST, SECOND}]
    assert [one.is_accurate for one in trials.all] == [False, True]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (replace(ANY, min_speedup=1e6), "int8 is not worth it on this CPU: the fastest accurate way, "),
        (replace(ANY, min_speedup=1e6, max_points_lost=0), "export.min_speedup"),
    ],
)
def test_a_file_that_is_not_good_enough_is_refused_with_the_figures(
    tmp_path: Path, settings: ExportSettings, reason: str
) -> None:
    figures = convert(make_network(), tmp_path / "model.onnx", settings)

    assert figures["passed"] is False
    assert reason in figures["reason"]
    assert len(figures["schemes"]) >= len(SCHEMES)
    assert "scheme" not in figures


def test_without_training_images_or_labels_there_is_no_such_file(tmp_path: Path) -> None:
    model = make_network()
    images = make_images(model)

    with pytest.raises(ExportError, match="is made by training and validation images"):
        convert(model, tmp_path / "model.onnx", ANY, replace(images, calibration=None))
    unlabelled = [one._replace(label=None) for one in images.originals]
    with pytest.raises(ExportError, match="judged by labelled validation images, and there are none"):
        convert(model, tmp_path / "model.onnx", ANY, replace(images, originals=unlabelled))
