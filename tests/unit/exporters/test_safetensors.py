"""The weights that timm loads by itself: which architectures, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from PIL import Image
from tests.helpers.torch_models import make_batch

from classifier_training.exporters.forms import ExportSettings, OriginalImage, ProofImages
from classifier_training.exporters.safetensors import FORM, read_by_timm, read_timm_config
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import preprocess
from classifier_training.models.base import BaseClassificationModel
from classifier_training.types import Preprocessing

CLASSES = ("a", "b", "猫")
PREPROCESSING = Preprocessing(image_size=64, crop_pct=0.9, interpolation="bilinear", mean=(0.5, 0.4, 0.3))
IMAGES = ProofImages(make_batch(size=64))


def make_model(backbone: str = "test_byobnet", **settings: Any) -> BaseClassificationModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BaseClassificationModel(backbone, CLASSES, preprocessing=PREPROCESSING, settings=settings)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)  # also of layers that begin as nothing
        return model.eval()


def written(model: BaseClassificationModel, folder: Path) -> Path:
    path = folder / "file.tmp"
    FORM.build(model, path, make_batch(size=64), ExportSettings(), {})
    return path


def change(path: Path, *, config: dict[str, Any] | None = None, roll: str | None = None) -> None:
    """Changes entries of the file's configuration, or the order of the rows of one of its weights."""
    weights = safetensors.torch.load_file(path)
    if roll is not None:
        weights[roll] = weights[roll].roll(1, 0).contiguous()
    entries = read_timm_config(path)
    entries["pretrained_cfg"] |= config or {}
    safetensors.torch.save_file(weights, path, {"timm_config": json.dumps(entries)})


@pytest.mark.parametrize(
    ("backbone", "settings", "arguments"),
    [
        ("test_vit", {"drop_path_rate": 0.1}, {"drop_path_rate": 0.1, "img_size": 64}),
        ("test_vit_relpos", {"drop_rate": 0.2}, {"drop_rate": 0.2, "img_size": 64}),
        ("test_resnet.r160_in1k", {"drop_path_rate": 0.1, "channels_last": True}, {"drop_path_rate": 0.1}),
    ],
)
def test_timm_builds_an_architecture_with_its_arguments(
    tmp_path: Path, backbone: str, settings: dict[str, Any], arguments: dict[str, Any]
) -> None:
    model = make_model(backbone, **settings)
    model.use_memory_format()

    path = written(model, tmp_path)
    figures = FORM.acceptance(path, model, IMAGES, ExportSettings())

    assert figures["passed"] is True, figures
    config = read_timm_config(path)
    assert config["model_args"] == arguments
    assert config["architecture"] == backbone.partition(".")[0]
    assert config["label_names"] == list(CLASSES)
    assert config["pretrained_cfg"]["mean"] == [0.5, 0.4, 0.3]


def test_exchanged_classes_are_found(tmp_path: Path) -> None:
    model = make_model()
    path = written(model, tmp_path)
    change(path, roll="head.fc.weight")

    figures = FORM.acceptance(path, model, IMAGES, ExportSettings())

    assert figures["passed"] is False
    assert (
        "in timm the exported file does not answer like the model: image 1 differs at the stage network"
        in (figures["reason"])
    )


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"interpolation": "bicubic"}, "interpolation is bicubic instead of bilinear"),
        ({"test_input_size": [3, 96, 96]}, "input_size is (3, 96, 96) instead of (3, 64, 64)"),
        ({"std": [1, 1, 1]}, "std is (1, 1, 1) instead of (0.229, 0.224, 0.225)"),
    ],
)
def test_another_preparation_is_found(tmp_path: Path, entry: dict[str, Any], sentence: str) -> None:
    model = make_model()
    path = written(model, tmp_path)
    change(path, config=entry)

    figures = FORM.acceptance(path, model, IMAGES, ExportSettings())

    assert figures["passed"] is False
    assert figures["reason"] == f"timm would prepare images otherwise: {sentence}"


def test_weights_of_another_architecture_are_one_sentence(tmp_path: Path) -> None:
    path = written(make_model("test_resnet"), tmp_path)
    config = read_timm_config(path) | {"architecture": "test_byobnet"}
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, {"timm_config": json.dumps(config)})

    figures = FORM.acceptance(path, make_model(), IMAGES, ExportSettings())

    assert figures["reason"].startswith("timm cannot load the file: ")
    assert "\n" not in figures["reason"]


def test_how_timm_itself_reads_photos_is_measured() -> None:
    model, pixels = make_model(), np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    contents = []
    for entry in (Image.Exif(), exif):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", exif=entry)
        contents.append(buffer.getvalue())
    images = torch.from_numpy(np.stack([preprocess(decode_image(one, "x"), PREPROCESSING) for one in contents]))
    originals = [OriginalImage("x", content) for content in contents]

    upright = read_by_timm(model, ProofImages(images[:1], originals[:1]))["own_reading"]
    both = read_by_timm(model, ProofImages(images, originals))["own_reading"]

    assert (upright["by"], upright["num_images"], upright["top1_agreement"]) == ("timm", 1, 1.0)
    assert upright["max_abs_input_difference"] < 1e-6
    assert both["max_abs_input_difference"] > 0.1
    broken = ProofImages(images[:1], [OriginalImage("x", b"no image")])
    assert "error" in read_by_timm(model, broken)["own_reading"]
    assert read_by_timm(model, ProofImages(images)) == {}
