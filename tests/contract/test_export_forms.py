"""One suite over every export form of the table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.helpers.torch_models import make_batch, make_network, make_proof_images
from torch import nn

from classifier_training.errors import ExportError, VerificationError
from classifier_training.exporters.forms import FORMS, ExportForm, ExportSettings, export_form, files_beside
from classifier_training.exporters.verified import export_verified
from classifier_training.inference.card import DeploymentCard
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.folder import ExportFolder
from classifier_training.types import Preprocessing

CARD = DeploymentCard(("00", "no", "", "猫"), Preprocessing(image_size=16))
IMAGES = make_proof_images(CARD.preprocessing, card=CARD, model=make_network(seed=1))
SETTINGS = ExportSettings(max_points_lost=60, min_speedup=0)
"""Nine images are not enough to be strict with forms that round, nor is a network of this size faster in 8 bits."""


def make_model(form: ExportForm, seed: int = 0) -> nn.Module:
    """A model that the form takes, in evaluation mode: any network, or one that timm can build."""
    if form.name != "safetensors":
        return make_network(seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BaseClassificationModel("test_byobnet", CARD.classes, preprocessing=CARD.preprocessing).eval()


def refusing(form: ExportForm) -> ExportForm:
    """The form, for a file that is compared with another model than that which it was made from."""
    other = make_model(form, seed=1)
    return replace(form, acceptance=lambda path, _, *arguments: form.acceptance(path, other, *arguments))


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> ExportForm:
    return export_form(request.param)


def test_the_files_and_figures_of_an_accepted_model(tmp_path: Path, form: ExportForm) -> None:
    folder = ExportFolder(tmp_path / "new")

    figures = export_verified(make_model(form), folder, IMAGES, form, SETTINGS, CARD, {"epoch": 3})

    written = {folder.model(form.name), folder.verification_of(form.name), folder.labels_mapping}
    assert set(folder.root.iterdir()) == written | set(files_beside(form, folder.model(form.name)))
    assert json.loads(folder.verification_of(form.name).read_text(encoding="utf-8")) == figures
    assert (figures["passed"], figures["form"], figures["epoch"]) == (True, form.name, 3)
    assert "reason" not in figures
    assert figures["num_images"] == len(IMAGES.originals)


def test_other_weights_are_not_accepted(tmp_path: Path, form: ExportForm) -> None:
    path = tmp_path / "file"
    form.build(make_model(form), path, make_batch(), SETTINGS, CARD.to_metadata())

    assert form.acceptance(path, make_model(form), IMAGES, SETTINGS)["passed"] is True
    figures = form.acceptance(path, make_model(form, seed=1), IMAGES, SETTINGS)

    assert figures["passed"] is False
    assert "\n" not in figures["reason"]
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_a_refused_file_leaves_no_model_and_its_reason(tmp_path: Path, form: ExportForm) -> None:
    folder = ExportFolder(tmp_path)
    export_verified(make_model(form), folder, IMAGES, form, SETTINGS, CARD)

    with pytest.raises(VerificationError):
        export_verified(make_model(form), folder, IMAGES, refusing(form), SETTINGS, CARD)

    assert set(tmp_path.iterdir()) == {folder.verification_of(form.name), folder.labels_mapping}
    figures = json.loads(folder.verification_of(form.name).read_text(encoding="utf-8"))
    assert figures["passed"] is False
    assert figures["reason"]


def test_a_model_that_cannot_be_exported_is_one_line(tmp_path: Path, form: ExportForm) -> None:
    with pytest.raises(ExportError, match="evaluation mode") as caught:
        form.build(make_model(form).train(), tmp_path / "file", make_batch(), SETTINGS, CARD.to_metadata())
    assert "\n" not in str(caught.value)
