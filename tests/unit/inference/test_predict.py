from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.helpers.images import make_image
from tests.helpers.onnx_models import make_onnx

from classifier_training.errors import BadImageError, DataError, RunError, UserError
from classifier_training.inference import Classifier, OnnxClassifier
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.given import AnyImage
from classifier_training.inference.predict import predict
from classifier_training.types import Preprocessing

CLASSES = ("red, really", 'green "leaf"', "bläu\n012")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Tells pure red, green and blue apart."""
    (tmp_path / "run" / "export").mkdir(parents=True)
    metadata = DeploymentCard(CLASSES, Preprocessing(image_size=16)).to_metadata()
    return make_onnx(tmp_path / "run" / "export" / "model.onnx", metadata=metadata)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for channel, name in enumerate(("c", "a", "b")):
        pixels = np.zeros((20, 30, 3), np.uint8)
        pixels[..., channel] = 255
        make_image(tmp_path / "photos" / f"{name}.png", pixels)
    return tmp_path / "photos"


def test_files_keep_their_order_and_a_folder_is_sorted(model: Path, photos: Path) -> None:
    named = predict(model, [photos / "c.png", photos / "b.png"])
    folder = predict(model, photos, batch_size=2)

    assert [prediction.label for prediction in named] == [CLASSES[0], CLASSES[2]]
    assert [prediction.label for prediction in folder] == [CLASSES[1], CLASSES[2], CLASSES[0]]
    assert [prediction.file for prediction in folder] == [str(photos / f"{name}.png") for name in "abc"]
    assert predict(model, str(photos / "c.png")) == named[:1]


def test_a_run_folder_stands_for_its_exported_model(model: Path, photos: Path) -> None:
    run = model.parents[1]
    with pytest.raises(RunError, match="is not a run folder"):
        predict(run, photos)

    (run / "config.yaml").write_text("seed: 0\n")
    assert predict(run, photos) == predict(model, photos)

    model.unlink()
    with pytest.raises(RunError, match=r"has no export/model\.onnx; create it: classifier-training export"):
        predict(run, photos)


def test_a_broken_image_stops_or_is_left_out_and_reported(model: Path, photos: Path) -> None:
    (photos / "ab.png").write_bytes(b"no image")
    skipped: list[tuple[str, BadImageError]] = []

    with pytest.raises(BadImageError, match=r"ab\.png"):
        predict(model, photos)
    found = predict(model, photos, on_bad_image="skip", on_skip=lambda path, error: skipped.append((path, error)))

    assert [Path(prediction.file or "").name for prediction in found] == ["a.png", "b.png", "c.png"]
    assert [path for path, _ in skipped] == [str(photos / "ab.png")]


def test_no_images(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image was named"):
        predict(model, [])
    with pytest.raises(DataError, match="no such file or folder"):
        predict(model, tmp_path / "none")


def test_images_in_memory_are_predicted_as_their_files(model: Path, photos: Path) -> None:
    files = sorted(photos.iterdir())
    expected = [one.probabilities for one in predict(model, files)]
    arrays = []
    for file in files:
        with Image.open(file) as image:
            arrays.append(np.asarray(image))
    pictures = [Image.open(file) for file in files]

    for images in (arrays, np.stack(arrays), [file.read_bytes() for file in files], pictures, iter(files)):
        assert [one.probabilities for one in predict(model, images)] == expected
    mixed = predict(model, [files[0], arrays[1], bytearray(files[2].read_bytes()), photos])
    assert [one.file for one in mixed] == [str(files[0]), None, None, *map(str, files)]
    assert [one.probabilities for one in mixed] == expected + expected
    singles: list[AnyImage] = [arrays[0], pictures[0], files[0].read_bytes()]
    for single in singles:
        assert [one.probabilities for one in predict(model, single)] == expected[:1]
    assert len(predict(model, arrays[0][..., 0])) == 1  # grey
    for picture in pictures:
        picture.close()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (3, r"images=3 is not an image: give a path, a PIL image, an array"),
        ([None], r"images\[0\]=None is not an image: give a path"),
        ([np.zeros((9, 9, 3), np.float32)], r"cannot read images\[0\]: an array of float32 is not an image"),
        ([np.zeros((9, 9), np.uint8), b"text"], r"cannot read images\[1\]: it is not an image"),
        ([], "no image was named"),
    ],
)
def test_what_is_not_an_image_is_refused(model: Path, images: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        predict(model, images)


def test_the_classifier_takes_what_predict_takes(model: Path, photos: Path) -> None:
    (model.parents[1] / "config.yaml").write_text("seed: 0\n")
    classifier = Classifier(model.parents[1])
    file = photos / "c.png"

    with Image.open(file) as picture:
        for one in (file, str(file), file.read_bytes(), picture, np.asarray(picture)):
            assert [found.label for found in classifier.predict(one)] == [CLASSES[0]]
    assert classifier.predict([photos, file.read_bytes()]) == predict(model, [photos, file.read_bytes()])
    assert [found.file for found in classifier.predict(str(photos / "[ab].png"))] == [
        str(photos / "a.png"),
        str(photos / "b.png"),
    ]
    assert OnnxClassifier is Classifier
