"""The scores of an exported model are those of its logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.helpers.confusion import confusion_and_top5
from tests.helpers.images import make_image, make_pixels
from tests.helpers.onnx_models import make_onnx

from classifier_training.config.schema import Config
from classifier_training.errors import BadImageError, CheckpointError, DataError
from classifier_training.evaluation.onnx import score_onnx
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import preprocess
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import OnnxClassifier, softmax
from classifier_training.inference.foreign import Description
from classifier_training.metrics.scores import scores_from_confusion
from classifier_training.results.confidence import calibrate
from classifier_training.results.scored_pass import LabelledImages
from classifier_training.types import Decoding, ImageRecord, Preprocessing, TestTimeAugmentation

CLASSES = tuple("abcdefg")
PREPROCESSING = Preprocessing(image_size=16)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_onnx(tmp_path / "model.onnx", 7, metadata=DeploymentCard(CLASSES, PREPROCESSING).to_metadata())


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return [str(make_image(tmp_path / f"{seed}.png", make_pixels(20, 20, seed))) for seed in range(23)]


def labelled(files: list[str], classes: tuple[str, ...] = CLASSES) -> LabelledImages:
    labels = np.arange(len(files), dtype=np.int64) % 7
    return LabelledImages(files, labels, classes, "some files", records=[ImageRecord(file) for file in files])


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_the_scores_are_those_of_the_logits(model: Path, files: list[str], batch_size: int) -> None:
    classifier, images = OnnxClassifier(model, num_threads=1), labelled(files)
    logits = classifier.logits(np.stack([preprocess(decode_image(file), PREPROCESSING) for file in files]))
    expected = scores_from_confusion(*confusion_and_top5(logits, images.labels))
    progress: list[tuple[int, int]] = []
    config = Config.model_validate({"data": {"batch_size": batch_size}, "report": {"num_pictures": 3}})

    scored = score_onnx(model, lambda *_: images, config, progress=lambda *done: progress.append(done))

    assert scored.scores.to_dict(CLASSES) == expected.to_dict(CLASSES)
    np.testing.assert_array_equal(scored.predictions.labels, images.labels)
    np.testing.assert_array_equal(scored.predictions.predicted, logits.argmax(axis=1))
    assert scored.predictions.probabilities is not None
    np.testing.assert_allclose(scored.predictions.probabilities, softmax(logits), rtol=1e-5)
    assert progress[-1] == (23, 23)
    assert progress[0] == (min(batch_size, 23), 23)
    limited = replace(PREPROCESSING, max_image_pixels=config.data.max_image_pixels)
    assert (scored.model, scored.preprocessing, scored.num_examples) == (str(model), limited, 3)


def test_without_a_configuration_the_defaults_are_used(model: Path, files: list[str]) -> None:
    seen: list[tuple[tuple[str, ...], Decoding]] = []

    def choose(classes: tuple[str, ...], decoding: Decoding) -> LabelledImages:
        seen.append((classes, decoding))
        return labelled(files, classes)

    scored = score_onnx(model, choose)

    assert (seen, scored.num_examples) == ([(CLASSES, Decoding())], 24)


def test_a_bad_image_stops(model: Path, files: list[str]) -> None:
    Path(files[4]).write_bytes(b"no image")

    with pytest.raises(BadImageError, match=r"4\.png"):
        score_onnx(model, lambda *_: labelled(files))


def test_nothing_to_score(model: Path) -> None:
    with pytest.raises(DataError, match="no image to score"):
        score_onnx(model, lambda *_: labelled([]))


@pytest.mark.parametrize(("form", "precision"), [("int8", "int8"), ("fp16", "fp16"), ("", "float32")])
def test_the_arithmetic_is_that_of_the_form(tmp_path: Path, files: list[str], form: str, precision: str) -> None:
    metadata = DeploymentCard(CLASSES, PREPROCESSING).to_metadata() | ({"form": form} if form else {})
    path = make_onnx(tmp_path / "file.onnx", 7, metadata=metadata)

    assert score_onnx(path, lambda *_: labelled(files[:2])).precision == precision


@pytest.mark.parametrize("tta", ["none", "flip"])
def test_the_temperature_of_the_card_is_in_the_scores(
    tmp_path: Path, files: list[str], tta: TestTimeAugmentation
) -> None:
    metadata = DeploymentCard(CLASSES, PREPROCESSING, 0.25).to_metadata()
    warm = make_onnx(tmp_path / "warm.onnx", 7, metadata=metadata)
    images = labelled(files)

    scored = score_onnx(warm, lambda *_: images, tta=tta)

    predicted = OnnxClassifier(warm, num_threads=1).predict_files(files, tta=tta)
    assert scored.predictions.probabilities is not None
    np.testing.assert_allclose(scored.predictions.probabilities, [one.probabilities for one in predicted], rtol=1e-5)
    assert scored.temperature is not None
    assert scored.temperature.temperature == 0.25
    assert (scored.temperature.before is None) == (tta == "flip")
    if tta == "none":
        plain = make_onnx(tmp_path / "plain.onnx", 7, metadata=DeploymentCard(CLASSES, PREPROCESSING).to_metadata())
        without = score_onnx(plain, lambda *_: images)
        assert without.temperature is None
        assert scored.scores.to_dict(CLASSES) == without.scores.to_dict(CLASSES)
        np.testing.assert_array_equal(scored.predictions.predicted, without.predictions.predicted)
        assert scored.temperature.bins_before == calibrate(without.predictions).bins


@pytest.mark.parametrize("shape", [("N", 3, 16, 16), (1, 3, 16, 16)])
def test_a_file_of_another_program_that_is_described(
    tmp_path: Path, model: Path, files: list[str], shape: tuple[int | str, ...]
) -> None:
    foreign = make_onnx(tmp_path / "foreign.onnx", 7, input_shape=shape)
    description = Description(CLASSES, PREPROCESSING.to_dict())

    found = score_onnx(foreign, lambda *_: labelled(files), description=description)

    wanted = score_onnx(model, lambda *_: labelled(files))
    np.testing.assert_array_equal(found.predictions.predicted, wanted.predictions.predicted)
    np.testing.assert_allclose(found.predictions.losses, wanted.predictions.losses, atol=1e-5)


def test_as_many_class_names_as_outputs_also_where_the_file_does_not_say_how_many(
    tmp_path: Path, files: list[str]
) -> None:
    path = make_onnx(tmp_path / "model.onnx", 7)
    free = onnx.load(str(path))
    free.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "K"
    onnx.save(free, str(path))

    with pytest.raises(CheckpointError, match="has 7 outputs, but 6 class names"):
        score_onnx(path, lambda *_: labelled(files), description=Description(CLASSES[:6], PREPROCESSING.to_dict()))
