from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.evaluations import make_evaluation, predict, write_other
from tests.helpers.scored import write_old_predictions

from classifier_training.errors import CheckpointError, DataError, RunError
from classifier_training.evaluation.baseline import baseline_is_correct, check_baseline
from classifier_training.files.atomic import write_text
from classifier_training.results.folder import read_scores
from classifier_training.results.scored_pass import LabelledImages
from classifier_training.run.folder import RunFolder, ScoredFolder
from classifier_training.run.records import write_record

RIGHT = [True, False, True, True, False, False]


@pytest.fixture
def images() -> LabelledImages:
    return make_evaluation([True] * 6).images


def make_run(folder: Path) -> RunFolder:
    run = RunFolder(folder)
    run.checkpoints.mkdir(parents=True)
    write_text(run.config, "seed: 1\n")
    run.best_checkpoint.touch()
    return run


def write_split(run: RunFolder, files: dict[str, str]) -> None:
    """Writes file and content hash of each image."""
    run.split.parent.mkdir(exist_ok=True)
    with run.split.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "label", "path", "digest", "reason"])
        writer.writerows(["test", "cat", path, digest, ""] for path, digest in files.items())


def test_an_evaluation_is_paired_by_file_in_any_order(tmp_path: Path, images: LabelledImages) -> None:
    folder = write_other(tmp_path / "other", images, RIGHT)
    header, *rows = (folder / "predictions.csv").read_text().splitlines()
    (folder / "predictions.csv").write_text("\n".join([header, *reversed(rows)]) + "\n")

    found = baseline_is_correct(folder, images)

    assert found.is_correct.tolist() == RIGHT
    assert found.how == "paired by file"


def test_an_evaluation_of_version_0_1_is_read(tmp_path: Path, images: LabelledImages) -> None:
    folder = ScoredFolder(write_other(tmp_path / "other", images, RIGHT))
    folder.probabilities.unlink()
    _, predictions = predict(images.labels, RIGHT, len(images.classes))
    write_old_predictions(folder.predictions, predictions, images.classes, images.files)

    check_baseline(folder.root)
    assert baseline_is_correct(folder.root, images).is_correct.tolist() == RIGHT


def test_what_is_right_is_decided_by_the_classes_of_these_photos(tmp_path: Path, images: LabelledImages) -> None:
    """An image may have been given another class since the other model was scored."""
    folder = write_other(tmp_path / "other", images, [True] * 6)
    text = (folder / "predictions.csv").read_text()
    (folder / "predictions.csv").write_text(text.replace("0.jpg,cat,cat", "0.jpg,dog,dog"))

    assert baseline_is_correct(folder, images).is_correct.tolist() == [False] + [True] * 5


def test_other_photos_are_refused(tmp_path: Path, images: LabelledImages) -> None:
    folder = write_other(tmp_path / "other", images, RIGHT, skip=2)

    with pytest.raises(DataError, match=r"is of other photos: 4 are in both \(paired by file\), of 6 here and 4 there"):
        baseline_is_correct(folder, images)


def test_files_that_were_replaced_since_the_other_evaluation_are_other_photos(
    tmp_path: Path, images: LabelledImages
) -> None:
    folder = write_other(tmp_path / "other", images, RIGHT)
    scores = read_scores(ScoredFolder(folder))
    write_record(ScoredFolder(folder).scores, replace(scores, content=images.content))
    assert baseline_is_correct(folder, images).is_correct.tolist() == RIGHT

    swapped = replace(images, digests=images.digests[::-1])
    with pytest.raises(DataError, match="is of other photos: the files have the same names, but not the content"):
        baseline_is_correct(folder, swapped)


@pytest.mark.parametrize("name", ["", "test"])
def test_a_run_is_paired_by_content_where_its_photos_have_moved(
    tmp_path: Path, images: LabelledImages, name: str
) -> None:
    run = make_run(tmp_path / "run")
    write_other(run.scored("test").root, images, RIGHT, model="checkpoints/best.ckpt")
    text = run.scored("test").predictions.read_text().replace("/photos/", "/old/")
    run.scored("test").predictions.write_text(text)
    write_split(run, {f"/old/{number}.jpg": digest for number, digest in enumerate(images.digests)})

    found = baseline_is_correct(run.root / name, images)

    assert found.is_correct.tolist() == RIGHT
    assert found.how == "paired by content"


def test_a_file_of_the_same_name_with_another_content_is_another_photo(tmp_path: Path, images: LabelledImages) -> None:
    run = make_run(tmp_path / "run")
    write_other(run.scored("test").root, images, RIGHT)
    digests = dict(zip(images.files, images.digests, strict=True))
    write_split(run, digests | {"/photos/0.jpg": "f" * 32})

    with pytest.raises(DataError, match=r"5 are in both \(paired by content\), of 6 here and 6 there"):
        baseline_is_correct(run.scored("test").root, images)


def test_a_validation_of_weights_that_are_not_the_best_is_not_taken(tmp_path: Path, images: LabelledImages) -> None:
    run = make_run(tmp_path / "run")
    write_other(run.scored("val").root, images, RIGHT, model="checkpoints/best.ckpt")
    assert baseline_is_correct(run.root, images).is_correct.tolist() == RIGHT

    write_other(run.scored("val").root, images, RIGHT, model="model in training")

    with pytest.raises(CheckpointError, match=r"best\.ckpt is truncated or not a checkpoint"):
        baseline_is_correct(run.root, images)  # it is scored instead: the file is empty here


def test_predictions_of_replaced_weights_are_not_used(tmp_path: Path, images: LabelledImages) -> None:
    run = make_run(tmp_path / "run")
    scores = write_other(run.scored("test").root, images, RIGHT, model="checkpoints/best.ckpt") / "scores.json"
    assert baseline_is_correct(run.root, images).is_correct.tolist() == RIGHT

    written = scores.stat().st_mtime_ns
    os.utime(run.best_checkpoint, ns=(written + 1_000_000_000, written + 1_000_000_000))

    with pytest.raises(CheckpointError, match=r"best\.ckpt is truncated or not a checkpoint"):
        baseline_is_correct(run.root, images)


def cut_predictions(folder: ScoredFolder) -> None:
    content = folder.predictions.read_bytes()
    folder.predictions.write_bytes(content[: content.rindex(b"/photos/5")])


def cut_within_a_row(folder: ScoredFolder) -> None:
    folder.predictions.write_bytes(folder.predictions.read_bytes()[:-22])


def exchange_a_prediction(folder: ScoredFolder) -> None:
    folder.predictions.write_text(folder.predictions.read_text().replace("0.jpg,cat,cat", "0.jpg,cat,dog"))


def make_numbers_nan(folder: ScoredFolder) -> None:
    header, first, *rows = folder.predictions.read_text().splitlines()
    first = ",".join([*first.split(",")[:3], "nan", "nan"])
    folder.predictions.write_text("\n".join([header, first, *rows]) + "\n")


def make_probabilities_nan(folder: ScoredFolder) -> None:
    probabilities = np.load(folder.probabilities)
    probabilities[2, 1] = np.nan
    np.save(folder.probabilities, probabilities)


def cut_probabilities(folder: ScoredFolder) -> None:
    folder.probabilities.write_bytes(folder.probabilities.read_bytes()[:-5])


DAMAGE = {
    "cut": (
        cut_predictions,
        r"predictions.csv does not belong to scores.json: it has 5 predictions, 3 of them correct",
    ),
    "cut within a row": (cut_within_a_row, r"predictions\.csv is not a table of predictions: it "),
    "exchanged": (exchange_a_prediction, "it has 6 predictions, 2 of them correct, not 6 and 3"),
    "nan": (make_numbers_nan, "row 2: the confidence nan or the loss nan is not a finite number"),
    "nan among probabilities": (make_probabilities_nan, r"probabilities\.npy: a probability is not a finite number"),
    "cut probabilities": (cut_probabilities, r"probabilities\.npy is cut or is not a NumPy array"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_predictions_are_refused_or_scored_again(tmp_path: Path, images: LabelledImages, kind: str) -> None:
    damage, message = DAMAGE[kind]
    run = make_run(tmp_path / "run")
    folder = ScoredFolder(write_other(run.scored("test").root, images, RIGHT, model="checkpoints/best.ckpt"))
    damage(folder)

    with pytest.raises(RunError, match=message) as refused:
        check_baseline(folder.root)
    assert len(str(refused.value).splitlines()) == 1
    check_baseline(run.root)
    with (
        pytest.warns(UserWarning, match=rf"the baseline \S+ is scored again: .*{message}"),
        pytest.raises(CheckpointError, match=r"best\.ckpt is truncated"),  # it is scored: the file is empty here
    ):
        baseline_is_correct(run.root, images)


class TestChecked:
    @pytest.mark.parametrize("name", ["missing", "missing.onnx", "notes.txt", "empty"])
    def test_nothing_to_compare_with(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "notes.txt").touch()
        (tmp_path / "empty").mkdir()
        with pytest.raises(RunError, match=r"cannot be compared with; name a run folder, a \.ckpt or \.onnx file"):
            check_baseline(tmp_path / name)

    def test_a_run_without_its_best_weights(self, tmp_path: Path) -> None:
        run = make_run(tmp_path / "run")
        check_baseline(run.root)
        run.best_checkpoint.unlink()
        with pytest.raises(RunError, match=r"has no checkpoints/best\.ckpt; finish it: train --resume"):
            check_baseline(run.root)

    def test_an_evaluation_without_its_predictions_or_from_another_version(
        self, tmp_path: Path, images: LabelledImages
    ) -> None:
        folder = write_other(tmp_path / "other", images, RIGHT)
        check_baseline(folder)
        (folder / "predictions.csv").unlink()
        with pytest.raises(RunError, match=r"has no predictions\.csv; evaluate that model again"):
            check_baseline(folder)
        (folder / "scores.json").write_text('{"format": 9}')
        with pytest.raises(RunError, match="is of format 9"):
            check_baseline(folder)

    def test_a_model_file(self, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").touch()
        check_baseline(tmp_path / "model.onnx")


def test_scores_of_another_test_time_augmentation_are_no_baseline(tmp_path: Path, images: LabelledImages) -> None:
    plain, flipped = (write_other(tmp_path / name, images, RIGHT) for name in ("plain", "flipped"))
    scores = read_scores(ScoredFolder(flipped))
    write_record(ScoredFolder(flipped).scores, replace(scores, tta="flip"))

    check_baseline(plain)
    check_baseline(flipped, "flip")
    assert baseline_is_correct(flipped, images, tta="flip").is_correct.tolist() == RIGHT
    with pytest.raises(RunError) as without:
        check_baseline(flipped)
    with pytest.raises(RunError, match="plain was scored without test-time augmentation, and this model is scored wi"):
        check_baseline(plain, "five")
    assert str(without.value) == (
        f"{flipped} was scored with test-time augmentation flip, and this model is scored without test-time"
        " augmentation; add --tta flip, or name the run or the model file instead, which is then scored without"
        " test-time augmentation as well"
    )


def test_the_own_scores_of_a_run_are_not_taken_for_those_with_test_time_augmentation(
    tmp_path: Path, images: LabelledImages
) -> None:
    run = make_run(tmp_path / "run")
    write_other(run.scored("test").root, images, RIGHT, model="checkpoints/best.ckpt")
    assert baseline_is_correct(run.root, images).is_correct.tolist() == RIGHT

    with pytest.raises(CheckpointError, match=r"best\.ckpt is truncated or not a checkpoint"):
        baseline_is_correct(run.root, images, tta="flip")  # it is scored instead: the file is empty here
