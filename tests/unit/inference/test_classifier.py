from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.images import make_image, make_pixels
from tests.helpers.onnx_models import make_onnx

from classifier_training.errors import BadImageError, CheckpointError, ConfigError
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import normalize, preprocess
from classifier_training.imaging.views import make_views
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import OnnxClassifier, _divided, softmax
from classifier_training.inference.labels import labels_mapping
from classifier_training.types import Preprocessing, TestTimeAugmentation

PREPROCESSING = Preprocessing(image_size=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
CLASSES = ("00", "no", "", "Über")
METADATA = DeploymentCard(CLASSES, PREPROCESSING).to_metadata()


@pytest.fixture
def classifier(tmp_path: Path) -> OnnxClassifier:
    return OnnxClassifier(make_onnx(tmp_path / "model.onnx", 4, metadata=METADATA), num_threads=1)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return [make_image(tmp_path / "photos" / f"{seed}.png", make_pixels(40, 30, seed)) for seed in range(7)]


def test_classes_and_preprocessing_come_from_the_metadata(classifier: OnnxClassifier) -> None:
    assert classifier.classes == CLASSES
    assert classifier.preprocessing == PREPROCESSING
    assert classifier.metadata == METADATA


def test_or_from_the_labels_mapping_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "labels_mapping.json").write_text(json.dumps(labels_mapping(CLASSES, PREPROCESSING)), encoding="utf-8")

    classifier = OnnxClassifier(make_onnx(tmp_path / "model.onnx", 4))

    assert (classifier.classes, classifier.preprocessing) == (CLASSES, PREPROCESSING)


def test_the_temperature_of_the_card_changes_probabilities_and_no_label(tmp_path: Path) -> None:
    image = make_pixels(40, 30)
    plain, warm = (
        OnnxClassifier(
            make_onnx(
                tmp_path / f"{temperature}.onnx",
                4,
                metadata=DeploymentCard(CLASSES, PREPROCESSING, temperature).to_metadata(),
            ),
            num_threads=1,
        ).predict_images([image])[0]
        for temperature in (None, 2.0)
    )

    assert warm.label == plain.label
    sharpened = np.square(warm.probabilities) / np.square(warm.probabilities).sum()
    np.testing.assert_allclose(sharpened, plain.probabilities, rtol=1e-5)


def test_a_temperature_that_rounds_two_logits_to_one_number_moves_no_label(tmp_path: Path) -> None:
    metadata = DeploymentCard(CLASSES, PREPROCESSING, 3.7).to_metadata()
    warm = OnnxClassifier(make_onnx(tmp_path / "model.onnx", 4, metadata=metadata), num_threads=1)
    means = np.random.default_rng(0).random(3_000, dtype=np.float32) + 1
    images = np.zeros((3_000, 3, 1, 1), np.float32)
    images[:, 0, 0, 0] = means  # logits 0 and 3 are once and four times this; logit 1 is twice the following
    images[:, 1, 0, 0] = np.nextafter(2 * means, np.float32(9))

    raw, logits = warm.raw_logits(images), warm.logits(images)

    np.testing.assert_array_equal(logits.argmax(axis=1), raw.argmax(axis=1))
    np.testing.assert_allclose(logits * np.float32(3.7), raw, rtol=1e-6)
    swapped = raw[:, [3, 0, 2, 1]]  # where rounding makes both equal, the smaller one comes first
    assert ((swapped / np.float32(3.7)).argmax(axis=1) != swapped.argmax(axis=1)).any()
    np.testing.assert_array_equal(_divided(swapped, 3.7).argmax(axis=1), swapped.argmax(axis=1))


def test_logits_are_those_of_the_model(classifier: OnnxClassifier) -> None:
    images = np.random.default_rng(0).random((5, 3, 16, 16), dtype=np.float32)

    logits = classifier.logits(images)

    means = images.mean(axis=(2, 3))
    expected = np.stack([means[:, 0], means[:, 1] * 2, means[:, 2] * 3, means[:, 0] * 4], axis=1)
    np.testing.assert_allclose(logits, expected, rtol=1e-5)
    assert logits.dtype == np.float32


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_files_are_predicted_in_order(classifier: OnnxClassifier, photos: list[Path], batch_size: int) -> None:
    predictions = list(classifier.predict_files(photos, batch_size))

    assert [prediction.file for prediction in predictions] == list(map(str, photos))
    for path, prediction in zip(photos, predictions, strict=True):
        logits = classifier.logits(preprocess(decode_image(path), PREPROCESSING)[None])[0]
        expected = torch.softmax(torch.from_numpy(logits).double(), 0)
        assert prediction.index == int(expected.argmax())
        assert prediction.label == CLASSES[prediction.index]
        assert prediction.probability == prediction.probabilities[prediction.index]
        np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-6)
        assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-12)


def test_images_in_memory_give_what_files_give(classifier: OnnxClassifier, photos: list[Path]) -> None:
    from_files = list(classifier.predict_files(photos, 2))

    from_memory = classifier.predict_images([decode_image(path) for path in photos], 2)

    assert [one.probabilities for one in from_memory] == [one.probabilities for one in from_files]
    assert {one.file for one in from_memory} == {None}


def test_a_bad_image_stops_the_run(classifier: OnnxClassifier, photos: list[Path]) -> None:
    photos[3].write_bytes(b"no image")

    with pytest.raises(BadImageError, match=r"3\.png"):
        list(classifier.predict_files(photos, 2))


def test_a_bad_image_is_left_out_and_reported(
    classifier: OnnxClassifier, photos: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    expected = [one for number, one in enumerate(classifier.predict_files(photos)) if number != 3]
    photos[3].write_bytes(b"no image")
    skipped: list[str] = []

    kept = list(classifier.predict_files(photos, 2, "skip", lambda path, _error: skipped.append(path)))
    with caplog.at_level(logging.WARNING):
        list(classifier.predict_files(photos, 2, "skip"))

    assert [one.file for one in kept] == [one.file for one in expected]
    np.testing.assert_allclose([one.probabilities for one in kept], [one.probabilities for one in expected], atol=1e-6)
    assert skipped == [str(photos[3])]
    assert "3.png" in caplog.text


def test_files_are_read_only_so_far_ahead(classifier: OnnxClassifier, photos: list[Path]) -> None:
    many = photos * 20
    predictions = classifier.predict_files(many, 1)
    next(predictions)
    assert isinstance(predictions, Iterator)
    for path in photos:
        path.unlink()

    with pytest.raises(BadImageError, match="no such file"):
        list(predictions)


@pytest.mark.parametrize(("batch_size", "on_bad_image"), [(0, "raise"), (1, "replace")])
def test_wrong_arguments(classifier: OnnxClassifier, batch_size: int, on_bad_image: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        list(classifier.predict_files([], batch_size, on_bad_image))  # type: ignore[arg-type]  # that is the test


def test_softmax_of_large_logits_is_finite() -> None:
    probabilities = softmax(np.array([[1e4, 1e4 - 1, -1e4]], np.float32))

    np.testing.assert_allclose(probabilities, [[1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0]])
    assert probabilities.dtype == np.float64


def test_a_missing_a_foreign_and_a_truncated_file(tmp_path: Path) -> None:
    whole = make_onnx(tmp_path / "model.onnx", metadata=METADATA).read_bytes()
    (tmp_path / "foreign.onnx").write_bytes(b"hello" * 20)
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (4, 4)).save(tmp_path / "picture.onnx", "PNG")

    with pytest.raises(CheckpointError, match=r"no such file: .*nothing"):
        OnnxClassifier(tmp_path / "nothing.onnx")
    for name in ("foreign", "empty", "truncated", "picture"):
        with pytest.raises(CheckpointError, match=rf"{name}\.onnx is not an ONNX model") as caught:
            OnnxClassifier(tmp_path / f"{name}.onnx")
        assert "\n" not in str(caught.value)


def test_what_is_not_an_image_classifier(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="2 outputs, not one of each, and no output is called logits"):
        OnnxClassifier(make_onnx(tmp_path / "a.onnx", num_outputs=2))
    with pytest.raises(CheckpointError, match=r"its input is tensor\(float\) \['N', 3, 'L'\]"):
        OnnxClassifier(make_onnx(tmp_path / "b.onnx", input_shape=("N", 3, "L")))
    with pytest.raises(CheckpointError, match="exactly 4 images at a time"):
        OnnxClassifier(make_onnx(tmp_path / "c.onnx", input_shape=(4, 3, "H", "W")))


def test_labels_that_are_missing_or_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no class_names in its metadata, and no labels_mapping\.json in its"):
        OnnxClassifier(make_onnx(tmp_path / "a.onnx", 4))
    with pytest.raises(CheckpointError, match="5 outputs, but 4 class names"):
        OnnxClassifier(make_onnx(tmp_path / "b.onnx", 5, metadata=METADATA))
    with pytest.raises(CheckpointError, match="takes images of 32 x 32 pixels, but its preprocessing makes 16 x 16"):
        OnnxClassifier(make_onnx(tmp_path / "c.onnx", 4, metadata=METADATA, input_shape=("N", 3, 32, 32)))


@pytest.mark.parametrize("tta", ["flip", "five"])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_probabilities_are_the_mean_over_the_views(
    classifier: OnnxClassifier, photos: list[Path], tta: TestTimeAugmentation, batch_size: int
) -> None:
    predictions = list(classifier.predict_files(photos, batch_size, tta=tta))

    for path, prediction in zip(photos, predictions, strict=True):
        views = make_views(decode_image(path), PREPROCESSING, tta)
        logits = classifier.logits(np.stack([normalize(view, PREPROCESSING) for view in views]))
        expected = torch.softmax(torch.from_numpy(logits).double(), 1).mean(0)
        np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-6)
        assert prediction.label == CLASSES[int(expected.argmax())]
    plain = list(classifier.predict_files(photos, batch_size))
    differences = np.subtract([one.probabilities for one in plain], [one.probabilities for one in predictions])
    assert (np.abs(differences).max() > 1e-3) == (tta == "five")  # mean colours are the same in a mirror
    in_memory = classifier.predict_images([decode_image(path) for path in photos], batch_size, tta)
    assert [one.probabilities for one in in_memory] == [one.probabilities for one in predictions]


def test_a_bad_image_is_left_out_with_all_its_views(classifier: OnnxClassifier, photos: list[Path]) -> None:
    expected = [one for number, one in enumerate(classifier.predict_files(photos, tta="five")) if number != 3]
    photos[3].write_bytes(b"no image")

    kept = list(classifier.predict_files(photos, 2, "skip", lambda *_: None, "five"))

    assert [one.file for one in kept] == [one.file for one in expected]
    np.testing.assert_allclose([one.probabilities for one in kept], [one.probabilities for one in expected], atol=1e-6)


def test_every_view_is_divided_by_the_temperature(tmp_path: Path) -> None:
    metadata = DeploymentCard(CLASSES, PREPROCESSING, 2.0).to_metadata()
    warm = OnnxClassifier(make_onnx(tmp_path / "model.onnx", 4, metadata=metadata), num_threads=1)
    image = make_pixels(40, 30)

    (found,) = warm.predict_images([image], tta="five")

    inputs = np.stack([normalize(view, PREPROCESSING) for view in make_views(image, PREPROCESSING, "five")])
    np.testing.assert_allclose(found.probabilities, softmax(warm.logits(inputs)).mean(axis=0), atol=1e-6)


def test_an_unknown_test_time_augmentation_is_refused(classifier: OnnxClassifier, photos: list[Path]) -> None:
    with pytest.raises(ConfigError, match="tta='ten': unknown test-time augmentation; allowed: none, flip, five"):
        classifier.predict_images(photos, tta="ten")  # type: ignore[arg-type]  # a mistake


@pytest.mark.parametrize("tta", ["none", "flip"])
def test_where_memory_runs_out_batches_are_halved_and_predictions_stay(
    classifier: OnnxClassifier, photos: list[Path], tta: TestTimeAugmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(classifier.predict_files(photos, 32, tta=tta))
    run = OnnxClassifier.run

    def limited(
        self: OnnxClassifier, images: NDArray[np.float32], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        if len(images) > 3:
            raise MemoryError
        return run(self, images, outputs)

    monkeypatch.setattr(OnnxClassifier, "run", limited)
    with pytest.warns(UserWarning, match="out of memory while predicting 7 images at once: going on with 3 at once"):
        found = list(classifier.predict_files(photos, 32, tta=tta))
    assert [one.file for one in found] == [one.file for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities)
