"""The rest is tested with the models that are scored, in `test_evaluation`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.helpers.photos import make_split_photos
from tests.helpers.shards import write_hub_parquet

from classifier_training.config import load_config
from classifier_training.config.schema import Config
from classifier_training.data.photos import load_photos
from classifier_training.data.splits.file import write_split
from classifier_training.errors import DataError
from classifier_training.evaluation.photos import ImageSelector
from classifier_training.files.atomic import write_json, write_text
from classifier_training.run.folder import RunFolder

CLASSES = ("cat", "dog")


def make_run(folder: Path, photos: Path, cache: Path) -> tuple[RunFolder, Config]:
    """A run that has looked at its photos."""
    run = RunFolder(folder)
    write_text(run.config, f"data:\n  cache_dir: {cache}\n  root: {photos}\n")
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
