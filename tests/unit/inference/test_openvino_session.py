"""Files of OpenVINO are read like ONNX files: the same predictions, metadata and messages."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.torch_models import make_batch, make_network

from classifier_training.errors import CheckpointError, ConfigError
from classifier_training.exporters.forms import ExportForm, ExportSettings, export_form
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import Classifier
from classifier_training.inference.session import open_session
from classifier_training.types import Preprocessing

CARD = DeploymentCard(("00", "no", "", "猫"), Preprocessing(image_size=16), temperature=0.5)


def build(form: ExportForm, path: Path) -> Path:
    form.build(make_network(), path, make_batch(), ExportSettings(), CARD.to_metadata())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network as ``model.xml`` and as ``model.onnx``."""
    folder = tmp_path_factory.mktemp("export")
    build(export_form("openvino"), folder / "model.xml")
    build(export_form("onnx"), folder / "model.onnx")
    return folder


def test_predictions_are_those_of_the_onnx_file(folder: Path) -> None:
    pixels = [np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8) for seed in range(5)]
    found, expected = (Classifier(folder / name, 1) for name in ("model.xml", "model.onnx"))

    assert (found.classes, found.card) == (expected.classes, expected.card)
    assert found.further_outputs == expected.further_outputs == {"features": 8}
    for one, other in zip(found.predict_images(pixels), expected.predict_images(pixels), strict=True):
        assert one.label == other.label
        np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=0, atol=1e-6)
    features, wanted = (one.run(make_batch().numpy(), ["features"])["features"] for one in (found, expected))
    np.testing.assert_allclose(features, wanted, rtol=0, atol=1e-5)


def test_threads_do_not_get_the_answers_of_each_other(folder: Path) -> None:
    session, batches = open_session(folder / "model.xml", 1), [make_batch(3, seed=seed).numpy() for seed in range(4)]
    expected = [session.run(None, {"input": batch})[0] for batch in batches]
    start, wrong = threading.Barrier(len(batches)), list[int]()

    def work(number: int) -> None:
        start.wait()
        for _ in range(50):
            if (session.run(["logits"], {"input": batches[number]})[0] != expected[number]).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_what_cannot_be_opened_is_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = tmp_path / "alone.xml"
    alone.write_bytes((folder / "model.xml").read_bytes())
    damaged = tmp_path / "damaged.xml"
    damaged.write_bytes(alone.read_bytes()[:500])
    damaged.with_suffix(".bin").write_bytes((folder / "model.bin").read_bytes())
    program = tmp_path / "model.pt2"
    program.write_bytes(b"x")

    for path, message in (
        (alone, f"{alone} needs its weights, alone.bin in the same folder; copy both files"),
        (damaged, f"{damaged} cannot be opened by OpenVINO, or is damaged: "),
        (program, f"{program} is of a form that this program writes for others and does not run; name the run folder"),
    ):
        with pytest.raises(CheckpointError) as caught:
            Classifier(path)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match="is a file of OpenVINO and needs the package openvino"):
        Classifier(folder / "model.xml")
