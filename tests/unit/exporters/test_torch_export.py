"""The ``.pt2`` file: read in a process of its own, without this package, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers.torch_models import make_batch, make_network
from torch import Tensor, nn

from classifier_training.errors import ExportError
from classifier_training.exporters.forms import ExportSettings, ProofImages
from classifier_training.exporters.torch_export import FORM
from classifier_training.models.base import BaseClassificationModel
from classifier_training.types import Preprocessing

READER = """
import json, sys
import numpy, torch

entries = {"class_names": ""}
model = torch.export.load("model.pt2", extra_files=entries).module()
images = torch.from_numpy(numpy.load("images.npy"))
with torch.no_grad():
    numpy.save("logits.npy", torch.cat([model(images), model(images[:1])]).numpy())
print(json.dumps([json.loads(entries["class_names"]), sorted(name for name in sys.modules if "classifier" in name)]))
"""


def test_a_process_without_this_package_gets_the_same_answers(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = {"drop_rate": 0.5, "drop_path_rate": 0.5}
        preprocessing = Preprocessing(image_size=64)
        model = BaseClassificationModel("test_vit", ("a", "猫"), preprocessing=preprocessing, settings=settings).eval()
    images = make_batch(size=64)
    FORM.build(model, tmp_path / "model.pt2", images, ExportSettings(), {"class_names": json.dumps(["a", "猫"])})
    np.save(tmp_path / "images.npy", images.numpy())

    command = [sys.executable, "-I", "-c", READER]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == [["a", "猫"], []]
    with torch.no_grad():
        expected = torch.cat([model(images), model(images[:1])]).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, rtol=0, atol=1e-5)


def test_no_weight_is_pickled_and_the_example_takes_no_space(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    FORM.build(make_network(), path, make_batch(size=256), ExportSettings(), {})

    with zipfile.ZipFile(path) as archive:
        configs = [json.loads(archive.read(one)) for one in archive.namelist() if one.endswith("_config.json")]
    entries = [entry for config in configs for entry in config["config"].values()]
    assert entries
    assert not any(entry["use_pickle"] for entry in entries)
    assert path.stat().st_size < 100_000


class BranchesOnValues(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        means = images.mean(dim=(2, 3))
        return means if means.sum() > 0 else -means


class Pickled(torch.Tensor):
    """A kind of tensor of the model's own."""


def of_own_kind() -> nn.Module:
    network = make_network()
    network.register_buffer("own", torch.ones(1).as_subclass(Pickled))
    return network.eval()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (BranchesOnValues().eval(), "torch.export cannot export this model: "),
        (of_own_kind(), "torch.export would pickle own of this model, which would run code where the file is loaded"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path: Path, model: nn.Module, reason: str) -> None:
    path = tmp_path / "model.pt2"

    with pytest.raises(ExportError) as caught:
        FORM.build(model, path, make_batch(), ExportSettings(), {})

    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)
    assert not path.exists()


def test_a_fixed_batch_axis_is_found(tmp_path: Path) -> None:
    model, path = make_network(), tmp_path / "model.pt2"
    torch.export.save(torch.export.export(model, (make_batch(2),)), path)

    figures = FORM.acceptance(path, model, ProofImages(make_batch()), ExportSettings())

    assert figures["passed"] is False
    assert figures["reason"].startswith("torch.export cannot run the exported file: ")
    assert "\n" not in figures["reason"]
