"""The lines of the documentation that predict without this package predict the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.helpers.docs import ROOT, blocks
from tests.helpers.images import make_image, make_pixels
from tests.helpers.onnx_models import make_onnx

from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import Classifier
from classifier_training.types import Interpolation, Preprocessing

CODE = next(
    block.code for block in blocks(ROOT / "docs" / "deploying.md") if "ImageOps" in block.code and "how" in block.code
)


@pytest.mark.parametrize(
    ("size", "orientation", "interpolation", "temperature"),
    [((64, 43), None, "bicubic", None), ((37, 80), 6, "bilinear", 2.5)],
)
def test_it_is_the_same_prediction(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    size: tuple[int, int],
    orientation: int | None,
    interpolation: Interpolation,
    temperature: float | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    card = DeploymentCard(("a", "b", "c"), Preprocessing(29, 0.9, interpolation), temperature)
    Path("runs/NAME/export").mkdir(parents=True)
    make_onnx(Path("runs/NAME/export/model.onnx"), metadata=card.to_metadata())
    make_image(Path("photo.jpg"), make_pixels(*size, 3), orientation=orientation)

    exec(compile(CODE, "deploying.md", "exec"), {})  # noqa: S102 - our own page

    (expected,) = Classifier("runs/NAME/export/model.onnx").predict("photo.jpg")
    label, probability = capsys.readouterr().out.split()
    assert label == expected.label
    assert float(probability) == pytest.approx(expected.probability, abs=1e-6)


def test_it_is_short() -> None:
    assert len([line for line in CODE.splitlines() if line and not re.match("import|from", line)]) <= 15
