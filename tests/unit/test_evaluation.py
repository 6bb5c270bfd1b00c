import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.images import make_image
from tests.helpers.onnx_models import make_onnx

from classifier_training.errors import CheckpointError, ConfigError, DataError, RunError
from classifier_training.evaluation import evaluate
from classifier_training.inference.labels import Labels, labels_metadata
from classifier_training.types import Preprocessing

CLASSES = ("red", "green", "blue")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Tells pure red, green and blue apart."""
    (tmp_path / "model").mkdir()
    metadata = labels_metadata(Labels(CLASSES, Preprocessing(image_size=16)))
    return make_onnx(tmp_path / "model" / "model.onnx", metadata=metadata)


def make_colours(folder: Path, *labels: str, colour: str | None = None) -> Path:
    """One picture in the folder of each label: of its colour, or of another."""
    for number, label in enumerate(labels):
        pixels = np.zeros((20, 30, 3), np.uint8)
        pixels[..., CLASSES.index(colour or label)] = 255 - number
        make_image(folder / label / f"{number}.png", pixels)
    return folder


def test_a_model_is_scored_on_a_folder_of_classes(model: Path, tmp_path: Path) -> None:
    photos = make_colours(tmp_path / "photos", "red", "green", "blue", "blue")
    make_colours(tmp_path / "photos" / "red", ".", colour="blue")  # a blue picture among the red ones
    (photos / "red" / "0.png").rename(photos / "red" / "wrong.png")

    found = evaluate(model, photos)

    assert found.classes == CLASSES
    assert found.model == model
    assert found.scores.num_images == 4
    assert found.scores.confusion[0][2] == 1
    assert found.scores.top1 == 3 / 4
    assert str(photos) in found.description


@pytest.mark.parametrize(("split", "expected"), [(None, 1.0), ("test", 1.0), ("val", 0.5), ("train", 0.0)])
def test_the_test_split_is_scored_unless_another_is_named(
    model: Path, tmp_path: Path, split: str | None, expected: float
) -> None:
    photos = tmp_path / "photos"
    make_colours(photos / "test", "red", "green")
    make_colours(photos / "valid", "red", "green", colour="red")
    make_colours(photos / "train", "red", "green", colour="blue")

    assert evaluate(model, photos, split=split).scores.top1 == expected  # type: ignore[arg-type]  # a parameter


def test_without_a_test_split_validation_is_scored(model: Path, tmp_path: Path) -> None:
    make_colours(tmp_path / "photos" / "train", "red", "green", colour="blue")
    make_colours(tmp_path / "photos" / "val", "red", "green")

    assert evaluate(model, tmp_path / "photos").scores.top1 == 1.0
    with pytest.raises(DataError, match="no images to score in a test split; choose with --split: train, val"):
        evaluate(model, tmp_path / "photos", split="test")


def test_a_table_with_its_own_column_names(model: Path, tmp_path: Path) -> None:
    make_colours(tmp_path / "photos", "red", "green")
    table = tmp_path / "photos" / "list.csv"
    table.write_text("file,kind\nred/0.png,red\ngreen/1.png,blue\n")

    found = evaluate(model, table, "data.image_column=file", {"data.label_column": "kind"})

    assert found.scores.top1 == 0.5


def test_progress_is_told(model: Path, tmp_path: Path) -> None:
    photos = make_colours(tmp_path / "photos", "red", "green", "blue")
    checked: list[tuple[int, int]] = []
    scored: list[tuple[int, int]] = []

    evaluate(
        model,
        photos,
        "data.batch_size=2",
        checking=lambda *numbers: checked.append(numbers),
        scoring=lambda *numbers: scored.append(numbers),
    )

    assert checked == [(1, 3), (2, 3), (3, 3)]
    assert scored == [(2, 3), (3, 3)]


def test_the_result_is_plain_values(model: Path, tmp_path: Path) -> None:
    photos = make_colours(tmp_path / "photos", "red", "green")
    (photos / "red" / "bad.png").write_bytes(b"no picture")

    with pytest.raises(DataError, match=r"bad\.png"):
        evaluate(model, photos)
    found = evaluate(model, photos, "data.on_bad_image=skip").to_dict()

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["left_out"] == [str(photos / "red" / "bad.png")]
    assert found["num_images"] == 2
    assert [row["class"] for row in found["classes"]] == list(CLASSES)


class TestRefused:
    def test_a_model_in_no_run_needs_photos(self, model: Path) -> None:
        with pytest.raises(DataError, match="this model lies in no run folder; name photos"):
            evaluate(model)

    def test_classes_that_the_model_does_not_know(self, model: Path, tmp_path: Path) -> None:
        photos = make_colours(tmp_path / "photos", "red", "green")
        shutil.copytree(photos / "red", photos / "violet")

        with pytest.raises(DataError, match="classes that the model does not know: 'violet'"):
            evaluate(model, photos)

    @pytest.mark.parametrize("name", ["none.onnx", "none.ckpt"])
    def test_a_file_that_is_not_there(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(CheckpointError, match=f"no such file: .*{name}"):
            evaluate(tmp_path / name, tmp_path)

    def test_what_is_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(CheckpointError, match=r"is no run folder, \.ckpt or \.onnx file"):
            evaluate(tmp_path / "notes.txt")
        with pytest.raises(RunError, match=r"it has no config\.yaml"):
            evaluate(tmp_path)

    def test_a_wrong_setting(self, model: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"did you mean data\.batch_size\?"):
            evaluate(model, tmp_path, "data.batchsize=2")
