import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.helpers.images import make_image
from tests.helpers.onnx_models import make_onnx

from classifier_training.errors import BadImageError, DataError, RunError, UserError
from classifier_training.files.tables import read_columns
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.predict import (
    AnyImage,
    check_output,
    find_images,
    predict,
    table_rows,
    write_predictions,
)
from classifier_training.types import Prediction, Preprocessing

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


class TestWriting:
    @pytest.fixture
    def predictions(self, model: Path, photos: Path) -> list[Prediction]:
        return predict(model, photos)

    def test_csv_keeps_every_character(self, predictions: list[Prediction], tmp_path: Path) -> None:
        write_predictions(tmp_path / "labels.csv", predictions, CLASSES)

        rows = list(read_columns(tmp_path / "labels.csv", ["file", "label", "probability"]))
        assert [row[:2] for row in rows] == [(one.file, one.label) for one in predictions]
        assert [float(row[2]) for row in rows] == pytest.approx([one.probability for one in predictions], abs=1e-6)

    @pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
    def test_a_file_name_that_is_not_utf8_or_has_a_line_break_is_kept(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"labels{suffix}"
        names = ["caf\udce9.jpg", "two\r\nlines.jpg", r"C:\u000a\new.jpg"]

        write_predictions(path, [Prediction("a", 1.0, 0, (1.0,), name) for name in names], ["a"])

        if suffix == ".csv":
            assert [file for (file,) in read_columns(path, ["file"])] == names
        else:
            assert [json.loads(line)["file"] for line in path.read_text(encoding="utf-8").splitlines()] == names

    def test_json_lines_hold_every_probability_exactly(self, predictions: list[Prediction], tmp_path: Path) -> None:
        write_predictions(tmp_path / "labels.jsonl", predictions, CLASSES)

        rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
        for row, prediction in zip(rows, predictions, strict=True):
            assert (row["file"], row["label"], row["probability"]) == (
                prediction.file,
                prediction.label,
                prediction.probability,
            )
            assert tuple(row["probabilities"].values()) == prediction.probabilities
            assert tuple(row["probabilities"]) == CLASSES

    def test_a_table_row_is_text(self, predictions: list[Prediction]) -> None:
        row = next(table_rows(predictions))

        assert row[:2] == [predictions[0].file, CLASSES[1]]
        assert row[2] == f"{predictions[0].probability:.6f}"

    def test_the_folder_of_an_output_is_made(self, tmp_path: Path) -> None:
        check_output(tmp_path / "new" / "folder" / "labels.csv")

        assert [path.name for path in (tmp_path / "new").rglob("*")] == ["folder"]

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("labels.txt", r"allowed are a \.csv or a \.jsonl file"),
            ("labels", r"allowed are a \.csv or a \.jsonl file"),
            ("file/labels.csv", "cannot create the folder .*file: File exists"),
            ("folder.csv", "this is a folder; name a file in it"),
        ],
    )
    def test_an_output_that_cannot_be_written(self, tmp_path: Path, name: str, reason: str) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "folder.csv").mkdir()

        with pytest.raises(UserError, match=reason):
            check_output(tmp_path / name)


def make_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_are_searched_in_sorted_order_and_hidden_files_ignored(tmp_path: Path) -> None:
    make_files(tmp_path, "b/2.JPG", "b/10.png", "a/x.webp", "c.tiff", "b/.hidden.jpg", ".git/y.jpg", "b/notes.txt")

    found = find_images([tmp_path])

    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/x.webp", "b/10.png", "b/2.JPG", "c.tiff"]


def test_named_files_are_taken_in_the_given_order_with_any_name(tmp_path: Path) -> None:
    make_files(tmp_path, "photo", "folder/a.jpg")

    assert find_images([str(tmp_path / "photo"), tmp_path / "folder"]) == [
        tmp_path / "photo",
        tmp_path / "folder" / "a.jpg",
    ]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    make_files(tmp_path, "photos/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")

    assert [path.name for path in find_images([tmp_path / "photos"])] == ["a.jpg", "b.jpg"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file or folder: .*nothing"):
        find_images([tmp_path, tmp_path / "nothing"])


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    make_files(tmp_path, "notes.txt")

    with pytest.raises(DataError, match=rf"no images in {tmp_path}; searched for files that end in .*\.jpg"):
        find_images([tmp_path])
    with pytest.raises(DataError, match="no image was named"):
        find_images([])


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


def test_files_that_are_not_read_are_warned_of(photos: Path) -> None:
    make_files(photos, "a.HEIC", "b.heic", "notes.txt", "plain", ".hidden.heic")
    warnings: list[str] = []

    assert len(find_images([photos], warnings.append)) == 3
    (warning,) = warnings
    assert warning == (
        f"files below {photos} that are not images are ignored: 2 × .heic, 1 × .txt, 1 × no extension; to use the .heic"
        " files, convert them to JPEG or PNG"
    )


def test_what_systems_leave_behind_is_skipped_as_in_training(photos: Path) -> None:
    make_files(photos, "@eaDir/a.jpg", "x/@eaDir/b.jpg", "__MACOSX/c.jpg", "lost+found/d.jpg", ".git/e.jpg")
    notices: list[str] = []

    assert len(find_images([photos], notices.append)) == 3
    assert notices == [
        f"what systems and programs have left below {photos} is skipped: @eaDir (2), __MACOSX (1), lost+found (1)"
    ]
    assert find_images([photos / "@eaDir"], notices.append) == [photos / "@eaDir" / "a.jpg"]  # named on purpose


def test_a_name_that_is_too_long_is_not_there(photos: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        find_images([photos / ("x" * 300)])


def test_names_that_look_like_formulas_are_escaped_on_request(tmp_path: Path) -> None:
    names = ["=1+1.jpg", "+a", "-b", "@c", "plain", "'=quoted", "＝wide"]
    predictions = [Prediction("=label", 0.5, 0, (0.5, 0.5), name) for name in names]

    write_predictions(tmp_path / "as-it-is.csv", predictions, ["=label", "b"])
    write_predictions(tmp_path / "safe.csv", predictions, ["=label", "b"], safe_csv=True)

    cells = [list(read_columns(tmp_path / file, ["file", "label"])) for file in ("as-it-is.csv", "safe.csv")]
    assert cells[0] == [(name, "=label") for name in names]
    assert [name for name, _ in cells[1]] == ["'=1+1.jpg", "'+a", "'-b", "'@c", "plain", "'=quoted", "'＝wide"]
    assert {label for _, label in cells[1]} == {"'=label"}
