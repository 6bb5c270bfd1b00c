import html
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.images import make_image
from tests.helpers.onnx_models import make_onnx

from classifier_training.errors import CheckpointError, ConfigError, DataError, RunError
from classifier_training.evaluation.evaluate import evaluate, score_on_same_images, write_evaluation
from classifier_training.inference.card import DeploymentCard
from classifier_training.results.folder import read_scores
from classifier_training.results.tables import read_predictions_csv
from classifier_training.run.folder import RunFolder, ScoredFolder
from classifier_training.types import Preprocessing

CLASSES = ("red", "green", "blue")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Tells pure red, green and blue apart."""
    (tmp_path / "model").mkdir()
    metadata = DeploymentCard(CLASSES, Preprocessing(image_size=16)).to_metadata()
    return make_onnx(tmp_path / "model" / "model.onnx", metadata=metadata)


def make_colours(folder: Path, *labels: str, colour: str | None = None) -> Path:
    """One image in the folder of each label: of its colour, or of another."""
    for number, label in enumerate(labels):
        pixels = np.zeros((20, 30, 3), np.uint8)
        pixels[..., CLASSES.index(colour or label)] = 255 - number
        make_image(folder / label / f"{number}.png", pixels)
    return folder


def test_a_model_is_scored_on_a_folder_of_classes(model: Path, tmp_path: Path) -> None:
    photos = make_colours(tmp_path / "photos", "red", "green", "blue", "blue")
    make_colours(tmp_path / "photos" / "red", ".", colour="blue")  # a blue image among the red ones
    (photos / "red" / "0.png").rename(photos / "red" / "wrong.png")

    found = evaluate(model, photos)

    assert found.classes == CLASSES
    assert found.model == str(model)
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


def test_progress_is_reported(model: Path, tmp_path: Path) -> None:
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
    (photos / "red" / "bad.png").write_bytes(b"no image")

    with pytest.raises(DataError, match=r"bad\.png"):
        evaluate(model, photos)
    found = evaluate(model, photos, "data.on_bad_image=skip").to_dict()

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["left_out"] == [str(photos / "red" / "bad.png")]
    assert found["num_images"] == 2
    assert [row["class"] for row in found["classes"]] == list(CLASSES)


def test_copies_are_reported_on_the_page_too(model: Path, tmp_path: Path) -> None:
    """The same bytes under two labels, and a row of a table twice."""
    photos = make_colours(tmp_path / "photos", "red", "green", "blue")
    shutil.copy(photos / "red" / "0.png", photos / "green" / "copy.png")
    rows = ("red/0.png,red", "green/1.png,green", "green/copy.png,green", "blue/2.png,blue", "blue/2.png,blue")
    (photos / "list.csv").write_text("\n".join(("image,label", *rows)))

    found = evaluate(model, photos / "list.csv", output=tmp_path / "out")

    mixed = (
        f"2 image(s) have one content under several labels (1 different image(s)): {photos}/red/0.png ('red'),"
        f" {photos}/green/copy.png ('green')"
    )
    again = f"1 image(s) are listed again with the same label, and count again: {photos}/blue/2.png"
    assert found.to_dict()["copies"] == [mixed, again]
    assert list(read_scores(ScoredFolder(tmp_path / "out")).copies) == [mixed, again]
    page = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert all(f"{message}." in page for message in (mixed, again))


class TestRefused:
    def test_a_model_in_no_run_needs_photos(self, model: Path) -> None:
        with pytest.raises(DataError, match="this model belongs to no run folder; name photos"):
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

    def test_another_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(CheckpointError, match=r"is not a run folder, \.ckpt, \.onnx or \.xml file"):
            evaluate(tmp_path / "notes.txt")
        with pytest.raises(RunError, match=r"it has no config\.yaml"):
            evaluate(tmp_path)

    def test_a_wrong_setting(self, model: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"did you mean data\.batch_size\?"):
            evaluate(model, tmp_path, "data.batchsize=2")


class TestWritten:
    def test_nothing_unless_a_folder_is_named(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        photos = make_colours(tmp_path / "photos", "red", "green")
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.rglob("*"))

        assert evaluate(model, photos).folder is None
        assert sorted(tmp_path.rglob("*")) == before

    def test_the_folder_holds_the_evaluation(self, model: Path, tmp_path: Path) -> None:
        photos = make_colours(tmp_path / "photos" / "val", "red", "green", "blue", colour="red")
        (photos / "red" / "bad.png").write_bytes(b"no image")

        found = evaluate(model, tmp_path / "photos", "data.on_bad_image=skip", split="val", output=tmp_path / "a" / "b")

        assert found.folder == tmp_path / "a" / "b"
        scores = read_scores(ScoredFolder(found.folder))
        assert scores.model == str(model)
        assert scores.description == f"the val split of {tmp_path / 'photos'}"
        assert (scores.split, scores.epoch, scores.num_images) == ("val", None, 3)
        assert scores.left_out == (str(photos / "red" / "bad.png"),)
        assert scores.intervals == found.intervals.by_name()
        rows = list(read_predictions_csv(ScoredFolder(found.folder).predictions))
        assert [row.file for row in rows] == found.images.files
        assert [row.true for row in rows] == ["blue", "green", "red"]
        assert {row.predicted for row in rows} == {"red"}
        assert np.allclose([row.loss for row in rows], found.predictions.losses, rtol=1e-5)
        probabilities = np.load(ScoredFolder(found.folder).probabilities, allow_pickle=False)
        np.testing.assert_array_equal(probabilities, found.predictions.probabilities)

    def test_an_earlier_evaluation_is_replaced_when_all_went_well(self, model: Path, tmp_path: Path) -> None:
        photos, output = make_colours(tmp_path / "photos", "red", "green"), tmp_path / "evaluation"
        evaluate(model, photos, output=output)
        earlier = (output / "report.html").read_bytes()
        shutil.copytree(photos / "red", photos / "violet")

        with pytest.raises(DataError, match="'violet'"):
            evaluate(model, photos, output=output)
        assert (output / "report.html").read_bytes() == earlier

        shutil.rmtree(photos / "violet")
        shutil.rmtree(photos / "green")
        evaluate(model, photos, output=output)
        assert (output / "report.html").read_bytes() != earlier
        assert read_scores(ScoredFolder(output)).num_images == 1

    def test_a_folder_of_something_else_is_refused_before_the_model_is_scored(
        self, model: Path, tmp_path: Path
    ) -> None:
        photos = make_colours(tmp_path / "photos", "red", "green")
        checked: list[int] = []

        with pytest.raises(RunError, match="is not empty and not the folder of an evaluation"):
            evaluate(model, photos, output=photos, checking=lambda done, _: checked.append(done))
        assert checked == []

    @pytest.mark.parametrize(
        ("split", "named", "expected"),
        [
            (None, "photos", "model-photos"),
            ("val", "photos/../photos/", "model-photos"),
            (None, "list.csv", "model-list.csv"),
        ],
    )
    def test_the_usual_place_of_a_model_in_no_run(
        self,
        model: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        split: str | None,
        named: str,
        expected: str,
    ) -> None:
        make_colours(tmp_path / "photos" / "val", "red", "green")
        (tmp_path / "list.csv").write_text("image,label\nphotos/val/red/0.png,red\n")
        monkeypatch.chdir(tmp_path)
        found = evaluate(model, named, split=split)  # type: ignore[arg-type]  # a parameter

        written = [write_evaluation(found).folder, write_evaluation(found).folder]

        assert written == [Path("evaluations") / expected, Path("evaluations") / f"{expected}-2"]
        assert all(read_scores(ScoredFolder(folder)).top1 == 1.0 for folder in written if folder is not None)

    def test_the_usual_place_of_a_model_in_a_run_is_the_run(self, model: Path, tmp_path: Path) -> None:
        run = RunFolder(tmp_path / "run")
        for file, content in ((run.onnx, model.read_bytes()), (run.config, b"seed: 1\n")):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

        found = write_evaluation(evaluate(run.onnx, make_colours(tmp_path / "photos", "red", "green")))

        assert found.folder == run.root / "evaluations" / "photos"

    def test_what_cannot_be_written_leaves_no_folder(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        found = evaluate(model, make_colours(tmp_path / "photos", "red", "green"))
        broken = replace(found, images=replace(found.images, classes=("red",)))  # fewer names than classes

        with pytest.raises((IndexError, ValueError)):
            write_evaluation(broken)

        assert list((tmp_path / "evaluations").iterdir()) == []


def test_another_model_on_the_same_photos(model: Path, tmp_path: Path) -> None:
    """Its classes are in another order, and it is therefore wrong about two of the three."""
    photos = make_colours(tmp_path / "photos", "red", "green", "blue")
    metadata = DeploymentCard(("blue", "green", "red"), Preprocessing(image_size=16)).to_metadata()
    other = make_onnx(tmp_path / "other.onnx", metadata=metadata)
    progress: list[tuple[int, int]] = []

    found = evaluate(model, photos)
    scored = score_on_same_images(other, found.images, scoring=lambda *numbers: progress.append(numbers))

    assert found.predictions.is_correct.all()
    named = [scored.classes[label] for label in scored.predictions.labels]
    assert named == [found.classes[label] for label in found.predictions.labels]
    assert scored.predictions.is_correct.tolist() == [name == "green" for name in named]
    assert progress == [(3, 3)]
