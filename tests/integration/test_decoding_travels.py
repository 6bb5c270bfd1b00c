"""How images are decoded is stated once, for the training, and holds wherever the model is used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers.cli import TINY, Trained, WarmProgram

from classifier_training.inference import OnnxClassifier, predict
from classifier_training.models.checkpoint import load_model
from classifier_training.run.folder import RunFolder

SIDE = 40


@pytest.fixture(scope="module")
def run(program: WarmProgram, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained on black shapes that are only in the transparency."""
    folder = tmp_path_factory.mktemp("decoding")
    random = np.random.default_rng(0)
    for name, width in (("narrow", 6), ("wide", 34)):
        (folder / "photos" / name).mkdir(parents=True)
        for position in range(12):
            alpha = np.zeros((SIDE, SIDE), np.uint8)
            left, top = random.integers(1, SIDE - width), random.integers(1, 20)
            alpha[top : top + 16, left : left + width] = 255
            image = Image.new("RGB", (SIDE, SIDE))
            image.putalpha(Image.fromarray(alpha))
            image.save(folder / "photos" / name / f"{position}.png")
    settings = ("data.background=white", f"data.max_image_pixels={SIDE * SIDE}", "data.val_fraction=0.4", "run.name=r")
    finished = program("train", "photos", *TINY, *settings, "trainer.max_epochs=1", folder=folder)
    assert finished.code == 0, finished
    assert "flat colour" not in finished.out
    return Trained(RunFolder(folder / "runs" / "r"), folder / "photos", finished)


def test_the_checkpoint_and_the_card_state_it(run: Trained) -> None:
    preprocessing = OnnxClassifier(run.run.onnx).preprocessing

    assert (preprocessing.background, preprocessing.max_image_pixels) == ((255, 255, 255), SIDE * SIDE)
    assert load_model(run.run.best_checkpoint).preprocessing == preprocessing


def test_transparent_and_composed_images_are_the_same_to_the_model(run: Trained) -> None:
    files = sorted(run.photos.rglob("*.png"))
    composed = []
    for file in files:
        white = Image.new("RGBA", (SIDE, SIDE), "white")
        with Image.open(file) as image:
            composed.append(np.asarray(Image.alpha_composite(white, image).convert("RGB")))

    from_files, from_memory = predict(run.run.root, files), predict(run.run.root, composed)

    assert [one.probabilities for one in from_files] == [one.probabilities for one in from_memory]
    assert len({one.probabilities for one in from_files}) > len(files) // 2  # not all of one colour


def test_the_checkpoint_and_the_file_score_alike(program: WarmProgram, run: Trained) -> None:
    scores = [
        program("evaluate", model, run.photos, "--json", folder=run.photos.parent).json["top1"]
        for model in (run.run.root, run.run.onnx)
    ]

    assert scores[0] == scores[1]


def test_the_limit_of_the_training_holds_for_its_model(program: WarmProgram, run: Trained, tmp_path: Path) -> None:
    Image.new("RGB", (SIDE + 1, SIDE)).save(tmp_path / "large.png")

    words = ("predict", run.run.root, tmp_path / "large.png", "--on-bad-image", "stop")
    finished = program(*words, folder=tmp_path)

    assert finished.code == 2
    assert finished.err == (
        f"error: cannot read {tmp_path}/large.png: it has more than {SIDE * SIDE} pixels; raise data.max_image_pixels"
        " if it is not a decompression bomb\n"
    )
    (tmp_path / "photos" / "wide").mkdir(parents=True)
    (tmp_path / "large.png").rename(tmp_path / "photos" / "wide" / "large.png")
    for model in (run.run.root, run.run.onnx):
        evaluate = ("evaluate", model, tmp_path / "photos")
        assert program(*evaluate, folder=tmp_path).code == 2
        raised = program(*evaluate, "data.max_image_pixels=2000", folder=tmp_path)
        assert raised.code == 0, raised


def test_a_model_without_these_entries_is_read_as_before(run: Trained, tmp_path: Path) -> None:
    mapping = json.loads((run.run.export / "labels_mapping.json").read_text(encoding="utf-8"))
    for name in ("background", "max_image_pixels"):
        mapping["preprocessing"].pop(name)
    path = tmp_path / "labels_mapping.json"
    path.write_text(json.dumps(mapping), encoding="utf-8")

    from classifier_training.inference.labels import read_labels_mapping

    assert read_labels_mapping(path).preprocessing.background is None
