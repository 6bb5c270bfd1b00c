"""The rest is tested with the models that are scored, in `test_evaluation`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.helpers.photos import make_photos, make_split_photos, photo_rows, write_table
from tests.helpers.shards import write_hub_parquet

from classifier_training.config import load_config
from classifier_training.config.schema import Config
from classifier_training.data.index.check import BadImagePolicy
from classifier_training.data.photos import load_photos
from classifier_training.data.splits.file import write_split
from classifier_training.errors import DataError
from classifier_training.evaluation.photos import ImageSelector, check_labelled, for_classes, select_samples
from classifier_training.files.atomic import write_json, write_text
from classifier_training.run.folder import RunFolder

CLASSES = ("cat", "dog")


def make_run(folder: Path, photos: Path, cache: Path, settings: str = "") -> tuple[RunFolder, Config]:
    """A run that has looked at its photos."""
    run = RunFolder(folder)
    write_text(run.config, f"data:\n  cache_dir: {cache}\n  root: {photos}\n{settings}")
    config = load_config([], file=run.config)
    found = load_photos(config.data, config.seed)
    write_json(run.environment, {"data_root": found.root})
    write_split(run.split, found)
    return run, config


@pytest.mark.parametrize("has_settings", [True, False])
def test_pictures_that_were_removed_from_the_cache_are_brought_back(tmp_path: Path, *, has_settings: bool) -> None:
    """An ONNX file is scored without settings; then the run's own say where its cache is."""
    for split in ("train", "test"):
        write_hub_parquet(tmp_path / "photos" / f"{split}-00000-of-00001.parquet", ["cat", "dog"] * 2, first=len(split))
    cache = tmp_path / "cache"
    run, config = make_run(tmp_path / "run", tmp_path / "photos", cache)
    choice = ImageSelector(run, None, config if has_settings else None, None)
    before = choice(CLASSES)
    assert all(Path(record.path).is_relative_to(cache) for record in before.records or ())

    shutil.rmtree(cache)

    after = choice(CLASSES)
    assert (after.files, after.labels.tolist(), after.digests) == (before.files, before.labels.tolist(), before.digests)
    assert before.description == f"the test split of {run.root}"


def test_a_photo_that_was_removed_is_an_error(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos")
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache")
    (photos / "test" / "cat" / "0.png").unlink()

    with pytest.raises(DataError, match=r"test/cat/0\.png: .*no such file"):
        ImageSelector(run, None, config, None)(CLASSES)


def test_photos_that_are_fetched_lie_in_the_cache_of_the_settings(tmp_path: Path) -> None:
    write_hub_parquet(tmp_path / "photos" / "test-00000-of-00001.parquet", ["cat", "dog"])
    config = Config.model_validate({"data": {"cache_dir": str(tmp_path / "cache")}})

    found = ImageSelector(None, tmp_path / "photos", config, None)(CLASSES)

    assert all(Path(record.path).is_relative_to(tmp_path / "cache") for record in found.records or ())


def test_the_runs_own_photos_are_known_by_their_root(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos")
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache")
    other = make_split_photos(tmp_path / "other", 1, 1, 1)

    assert ImageSelector(run, None, config, None).uses_run_split
    assert ImageSelector(run, f"{photos}/", config, None).uses_run_split
    assert not ImageSelector(run, other, config, None).uses_run_split
    assert not ImageSelector(None, photos, config, None).uses_run_split
    assert ImageSelector(run, None, config, "val")(CLASSES).split == "val"


def test_the_test_split_is_taken_else_validation_unless_one_is_named(tmp_path: Path) -> None:
    make_split_photos(tmp_path / "three", 3, 2, 1)
    make_split_photos(tmp_path / "two", 3, 2, 0)

    assert len(select_samples(tmp_path / "three").samples) == 2
    assert select_samples(tmp_path / "three").description == f"the test split of {tmp_path / 'three'}"
    assert select_samples(tmp_path / "two").split == "val"
    assert len(select_samples(tmp_path / "two").samples) == 4
    assert len(select_samples(tmp_path / "three", split="train").samples) == 6


def test_a_root_without_splits_is_taken_whole_and_described(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 3, "b": 2})

    chosen = select_samples(tmp_path)

    assert len(chosen.samples) == 5
    assert chosen.description == f"all images of {tmp_path} (it has no splits)"
    assert chosen.split is None


def test_a_split_that_is_not_there_or_empty(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 1, 1, 0)
    (tmp_path / "test").mkdir()

    with pytest.raises(DataError, match=r"no images to score in a test split; choose with --split: train, val$"):
        select_samples(tmp_path, split="test")
    assert select_samples(tmp_path).description == f"the val split of {tmp_path}"


def test_labels_are_the_models_indices(tmp_path: Path) -> None:
    make_photos(tmp_path, {"b": 1, "a": 2})
    chosen = select_samples(tmp_path)

    labelled = check_labelled(chosen, ["b", "never seen", "a"])

    assert labelled.labels.tolist() == [2, 2, 0]
    assert labelled.records == [sample.image for sample in chosen.samples]
    assert labelled.files == [sample.path for sample in chosen.samples]
    assert labelled.left_out == ()


def test_classes_that_the_model_does_not_know(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 1, "b": 1, "": 0})
    chosen = select_samples(tmp_path)

    with pytest.raises(DataError, match=r"classes that the model does not know: 'b'; it knows 'a', 'c'"):
        check_labelled(chosen, ["a", "c"])


def test_broken_files(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "0.png").write_bytes(b"")
    chosen = select_samples(tmp_path)

    with pytest.raises(DataError, match=r"a/0\.png: the file is empty"):
        check_labelled(chosen, ["a", "b"])
    labelled = check_labelled(chosen, ["a", "b"], policy=BadImagePolicy("skip"))
    assert (labelled.labels.tolist(), labelled.left_out) == ([1], (str(tmp_path / "a" / "0.png"),))

    (tmp_path / "b" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="no image can be read"):
        check_labelled(chosen, ["a", "b"], policy=BadImagePolicy("skip"))


def test_a_split_cannot_be_chosen_where_there_are_none(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 2, "b": 2})

    with pytest.raises(DataError, match="has no splits, so none can be chosen with --split val"):
        select_samples(tmp_path, split="val")


def test_a_row_of_a_table_with_a_class_that_the_model_does_not_know(tmp_path: Path) -> None:
    table = write_table(tmp_path / "annotations.csv", photo_rows(tmp_path, ["cat", "dog", "catt"]))

    with pytest.raises(DataError, match=rf"^{table}, row 4: 'catt' .* not one of the 2 classes; did you mean 'cat'\?$"):
        select_samples(tmp_path, classes=("cat", "dog"))


def test_the_same_pictures_for_another_model(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a": 1, "b": 2})
    labelled = check_labelled(select_samples(tmp_path), ["a", "b"])

    other = for_classes(labelled, ["c", "b", "a"])

    assert (other.labels.tolist(), other.records, other.digests) == ([2, 1, 1], labelled.records, labelled.digests)
    with pytest.raises(DataError, match="classes that the model does not know: 'b'; it knows 'a', 'c'"):
        for_classes(labelled, ["a", "c"])
