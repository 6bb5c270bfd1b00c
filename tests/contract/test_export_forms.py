"""One suite over every export form of the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.torch_models import make_batch, make_network, make_proof_images

from classifier_training.errors import ExportError, VerificationError
from classifier_training.exporters.forms import FORMS, ExportForm, ExportSettings, export_form
from classifier_training.exporters.verified import export_verified
from classifier_training.inference.card import DeploymentCard
from classifier_training.run.folder import ExportFolder
from classifier_training.types import Preprocessing

CARD = DeploymentCard(("00", "no", "", "猫"), Preprocessing(image_size=16))
IMAGES = make_proof_images(CARD.preprocessing)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> ExportForm:
    return export_form(request.param)


def test_the_files_and_figures_of_an_accepted_model(tmp_path: Path, form: ExportForm) -> None:
    folder = ExportFolder(tmp_path / "new")

    figures = export_verified(make_network(), folder, IMAGES, form, ExportSettings(), CARD, {"epoch": 3})

    written = {folder.model(form.name), folder.verification_of(form.name), folder.labels_mapping}
    assert set(folder.root.iterdir()) == written
    assert json.loads(folder.verification_of(form.name).read_text(encoding="utf-8")) == figures
    assert (figures["passed"], figures["form"], figures["epoch"]) == (True, form.name, 3)
    assert "reason" not in figures
    assert figures["num_images"] == len(IMAGES.originals)


def test_other_weights_are_not_accepted(tmp_path: Path, form: ExportForm) -> None:
    path = tmp_path / "file"
    form.build(make_network(), path, make_batch(), ExportSettings(), CARD.to_metadata())

    assert form.acceptance(path, make_network(), IMAGES, 1e-3)["passed"] is True
    figures = form.acceptance(path, make_network(seed=1), IMAGES, 1e-3)

    assert figures["passed"] is False
    assert "\n" not in figures["reason"]
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_a_refused_file_leaves_no_model_and_its_reason(tmp_path: Path, form: ExportForm) -> None:
    folder = ExportFolder(tmp_path)
    export_verified(make_network(), folder, IMAGES, form, ExportSettings(), CARD)

    with pytest.raises(VerificationError):
        export_verified(make_network(), folder, IMAGES, form, ExportSettings(tolerance=1e-30), CARD)

    assert set(tmp_path.iterdir()) == {folder.verification_of(form.name), folder.labels_mapping}
    figures = json.loads(folder.verification_of(form.name).read_text(encoding="utf-8"))
    assert figures["passed"] is False
    assert figures["reason"]


def test_a_model_that_cannot_be_exported_is_one_line(tmp_path: Path, form: ExportForm) -> None:
    with pytest.raises(ExportError, match="evaluation mode") as caught:
        form.build(make_network().train(), tmp_path / "file", make_batch(), ExportSettings(), CARD.to_metadata())
    assert "\n" not in str(caught.value)
