"""A run's own split is scored on the images that the run recorded, or not at all."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest
from tests.helpers.photos import make_photo, make_photos, make_split_photos
from tests.helpers.shards import photo_bytes, write_tar
from tests.unit.evaluation.test_photos import CLASSES, make_run

from classifier_training.errors import DataError
from classifier_training.evaluation.photos import ImageSelector
from classifier_training.types import SPLITS


@pytest.mark.parametrize("split", SPLITS)
def test_overwritten_photos_are_refused_with_the_first_name_and_the_count(tmp_path: Path, split: str) -> None:
    photos = make_split_photos(tmp_path / "photos")
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache")
    for name in ("1.png", "2.png"):
        make_photo(photos / split / "cat" / name, seed=77)

    with pytest.raises(DataError) as caught:
        ImageSelector(run, None, config, split)(CLASSES)  # type: ignore[arg-type]  # one of SPLITS

    total = 12 if split == "train" else 6
    assert str(caught.value) == (
        f"the {split} split of {run.root}: 2 of {total} images have another content than when the run began:"
        f" {photos}/{split}/cat/1.png, {photos}/{split}/cat/2.png; restore them, or score the photos as they are"
        " now with --current"
    )
    assert ImageSelector(run, None, config, None, current=True)(CLASSES).description == f"the test split of {photos}"


def test_a_shard_that_was_packed_again_with_equal_sizes_is_refused(tmp_path: Path) -> None:
    contents = [photo_bytes(number, kind="BMP") for number in range(4)]
    for split in SPLITS:
        pack(tmp_path / "shards" / f"{split}-000000.tar", contents)
    run, config = make_run(tmp_path / "run", tmp_path / "shards", tmp_path / "cache")
    pack(tmp_path / "shards" / "test-000000.tar", contents[::-1])

    with pytest.raises(DataError, match=r"4 of 4 images have another content .*test-000000\.tar::0\.bmp, "):
        ImageSelector(run, None, config, None)(CLASSES)


def pack(path: Path, contents: list[bytes]) -> None:
    """A shard whose layout does not depend on the contents."""
    members: list[tuple[str | tarfile.TarInfo, bytes]] = []
    for number, content in enumerate(contents):
        members += [(f"{number}.bmp", content), (f"{number}.cls", CLASSES[number % 2].encode())]
    write_tar(path, members)


def test_a_photo_that_changes_while_it_is_scored_is_refused(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos")
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache")
    images = ImageSelector(run, None, config, None)(CLASSES)
    make_photo(photos / "test" / "cat" / "0.png", seed=9, size=(30, 30))

    records = images.records or ()
    with pytest.raises(OSError, match="changed since it was checked"):
        records[0].read()


@pytest.mark.parametrize("has_splits", [True, False])
def test_what_was_added_since_is_named_with_the_way_to_score_it(tmp_path: Path, *, has_splits: bool) -> None:
    root = tmp_path / "photos"
    photos = make_split_photos(root) if has_splits else make_photos(root, {"cat": 20, "dog": 20})
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache")
    before = ImageSelector(run, None, config, None)(CLASSES)
    new = make_photo(photos / ("test/cat/new.png" if has_splits else "cat/new.png"), seed=900)

    with pytest.warns(UserWarning, match=rf"holds 1 image\(s\) .* not scored: {new}; --current scores all") as caught:
        after = ImageSelector(run, photos, config, None)(CLASSES)

    assert len(caught) == 1
    assert after.files == before.files
    assert str(new) in ImageSelector(run, photos, config, None, current=True)(CLASSES).files


def test_what_was_left_out_was_not_added(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    photos = make_split_photos(tmp_path / "photos")
    (photos / "test" / "cat" / "bad.png").write_bytes(b"no image")
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache", "  on_bad_image: skip\n")

    ImageSelector(run, None, config, None)(CLASSES)

    assert not recwarn.list


def test_photos_that_are_gone_are_unreadable(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos")
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache")
    shutil.rmtree(photos / "test")

    with pytest.raises(DataError, match=r"6 file\(s\) are not readable images"):
        ImageSelector(run, None, config, None)(CLASSES)
